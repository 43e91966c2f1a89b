"""Builds models: `load` by name, from families of networks (a file for each), `wrap` from any module."""

from tapetum.models.zoo.loading import known_models, load
from tapetum.models.zoo.simple_cnn import SimpleCNN
from tapetum.models.zoo.wrapping import wrap
