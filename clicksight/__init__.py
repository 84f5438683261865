"""What people use without the pipeline: the command ``clicksight``, predictions, search, exports, and the page to try.

Above all other packages; nothing imports from here. ``clicksight --help`` lists the commands.
"""
