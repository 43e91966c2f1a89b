"""Dreams: photographs that a network redraws. Each begins with a picture, not with noise, and shows the change.

octaves   more of whatever a layer sees, at several scales
styles    the layout of one picture with the textures of another
accents   a picture moved towards a unit: what would have to be stronger in it, and where
"""
