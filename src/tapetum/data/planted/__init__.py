"""Planted pictures: synthetic ones, whose label, object, background and shortcut are known for every pixel."""

from tapetum.data.planted.dataset import Planted, from_text, planted
from tapetum.data.planted.things import OBJECTS, SHAPES
