"""The studio: a page on which a model is looked into by hand, and the server behind it.

    tapetum studio                       # or, from Python: tp.studio(model)

Everything that the page shows is a run of the registry (`running.py`), and comes with the Python and the command line that
give the same numbers (`code.py`). The package is not called studio, since `tp.studio` is the function.
"""
