"""Planted pictures: synthetic, so that label, object, background and shortcut are known to the pixel."""

from tapetum.data.planted.dataset import Planted, from_text, planted
from tapetum.data.planted.recipes import PlantedSettings, Scene
from tapetum.data.planted.things import OBJECTS, SHAPES
