"""The course: `start` gives a lesson its model and pictures (or the learner's own) and checks its claims as it runs.

    from tapetum.course import start

    here = start(6)
    model, cat = here.model(), here.picture("cat")
    here.see(tp.predict(model, model.preprocess(cat))[0][0].label == "tiger cat", "the network says tiger cat")

The command line and the site configure a lesson by environment variables: LESSON_MODEL, LESSON_WEIGHTS, LESSON_IMAGE,
LESSON_DATA, LESSON_FAST.
"""

from __future__ import annotations

from tapetum.course.beginning import PICTURES, Here, LessonError, start
