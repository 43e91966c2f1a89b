"""Attributions by a changed backward pass: rules on operations, whichever way the network spells them."""
