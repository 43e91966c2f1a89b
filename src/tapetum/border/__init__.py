"""Registers methods, and checks and converts the arguments of users before a method's own function (its body) gets them."""
