"""What a lesson begins with: the model and the pictures, the learner's own where there are some, and checks that run.

    from tapetum.course import start

    here = start(6)
    model, cat = here.model(), here.picture("cat")
    here.see(tp.predict(model, model.preprocess(cat))[0][0].label == "tiger cat", "the network says tiger cat")

The command line and the site choose with the environment: LESSON_MODEL, LESSON_WEIGHTS, LESSON_IMAGE, LESSON_DATA,
LESSON_FAST.
"""

from __future__ import annotations

from tapetum.course.beginning import PICTURES, Here, LessonError, start

__all__ = ["PICTURES", "Here", "LessonError", "start"]
