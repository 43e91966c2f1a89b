"""Dreams: photographs that a network redraws. Each begins with a picture, not with noise, and shows what was changed in it.

octaves   more of whatever a layer sees, at several scales
styles    one picture's places with another one's textures
accents   what would have to be more in a picture for a unit to answer more, and where
"""
