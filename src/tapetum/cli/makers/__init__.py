"""Makers of commands: functions that read a command's options from the signature of the function that it calls."""
