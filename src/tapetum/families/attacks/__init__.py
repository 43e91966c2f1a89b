"""Attacks in pixel space, what they disturb inside the network, and the fewest units that repair it."""
