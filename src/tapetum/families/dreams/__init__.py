"""Dreams: renderings that start from a photograph instead of noise and change it by gradient steps.

octaves   more of whatever a layer sees, at several scales
styles    the layout of one picture with the textures of another
accents   a picture moved towards a unit: what would have to be stronger in it, and where
"""
