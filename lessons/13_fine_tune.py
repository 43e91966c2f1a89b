# %% [markdown]
# # 13 · Fine-tune a network on your own folder, and check where it looks
#
# **Trust**: a network learned your classes in a minute and is right; does it look at the right thing? · about 25 minutes ·
# needs [lesson 3](lesson:3) and [lesson 9](lesson:9)
#
# You will
#
# * teach a pretrained network four new classes with 30 pictures each, and see what that saves
# * look at its mistakes, the surest first
# * measure with masks whether Grad-CAM lies on the objects
# * repeat the check on a folder that invites cheating
# * do all this with a folder of your own

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(13)
model = here.model()
classes = ("house", "fish", "car", "cup")
size = here.side(model, 160)

# %% [markdown]
# ## A folder of pictures
#
# Our pictures are drawn: an object on a textured background ([tp.planted](api:planted)). So we know where the object is in
# each of them, to the pixel. We learn from 120 and test with others that were drawn with another seed. With `--data` and a
# folder of class folders of your own, the lesson learns from your pictures instead, and holds out a fifth of them.
#
# First the old way: SimpleCNN learns these classes from nothing.
#
# **Predict.** 30 pictures of each class. How many of the held-out pictures will be right? Chance is a quarter.
#
# <details><summary>Answer</summary>
#
# Not even half of them. It becomes better on the pictures that it learns from, and hardly better on the others. 120 pictures
# are too few to find out what a house is, whatever its colour, place and background.
#
# </details>

# %%
drawn = tp.planted("objects", n=120, size=160, classes=classes, seed=0)
others = tp.planted("objects", n=80, size=160, classes=classes, seed=1)
mine = here.data(None)
learn, held = (drawn, others) if mine is None else (mine, 0.2)
scratch = tp.train(
    learn,
    validation=held,
    size=64,
    epochs=here.quick(6, full=20),
    batch=16,
    learning_rate=3e-3,
    schedule="cosine",
)
tp.show(scratch)

# %% [markdown]
# ## A new head
#
# EfficientNet-Lite0 has seen 1.3 million photographs. It has never seen our drawings, but most of what it learned is not
# about its 1000 classes: edges, textures, corners, wheels, windows. [tp.fine_tune](api:fine_tune) keeps all of that as it is.
# It replaces only the last layer, the **head**, by one with four outputs. The frozen part looks at each picture once and
# gives 1280 numbers. Only the head learns from them: 4 × 1280 weights and 4 more.
#
# **Predict.** How many of the same held-out pictures are right now?
#
# <details><summary>Answer</summary>
#
# All but one, and it takes seconds: nothing but one linear layer is trained. After the first epoch, which is eight steps, it
# is already far ahead of SimpleCNN.
#
# </details>

# %%
settings = {"size": size, "epochs": 10, "batch": 16, "learning_rate": 3e-3}
tuned = tp.fine_tune(model, learn, validation=held, **settings)
print(tuned)
tp.show(tuned)

# %%
before, after = model.module.state_dict(), tuned.model.module.state_dict()
same = [
    name
    for name in before
    if torch.equal(before[name], after.get(name, torch.empty(0)))
]
head = [name for name in before if name not in same]
print(f"{len(same)} tensors are as they were, new: {', '.join(head)}")
here.holds(len(head) <= 2, "only the weights and the bias of the head are new")
here.see(tuned.accuracy > 0.9, "more than 90 % of the held-out pictures are right")
here.see(
    tuned.accuracy > scratch.accuracy + 0.2,
    "that is far more than the network that learned from nothing",
)

# %% [markdown]
# ## The mistakes
#
# **Predict.** Which of the four classes will be confused?
#
# <details><summary>Answer</summary>
#
# Only one picture is wrong, so there is no pattern to see. In general, read the pictures themselves: is the object small, or
# of nearly the colour of its background? With your own folder this is the moment to find pictures that lie in the wrong
# folder.
#
# </details>

# %%
checked = tp.check_predictions(
    tuned.model,
    others if mine is None else mine,
    of="all" if mine is None else "validation",
)
print(checked)
tp.show(checked)

# %%
here.holds(
    abs(checked.accuracy - tuned.accuracy) < 0.03,
    "counted once more: the accuracy of the last epoch",
)

# %% [markdown]
# ## Where it looks
#
# High accuracy does not say *why*. Grad-CAM ([lesson 9](lesson:9)) shows which places spoke for the answer. Here are four of
# the held-out pictures. We take a layer a little before the end: its places are finer.
#
# **Predict.** Will the maps lie on the objects?
#
# <details><summary>Answer</summary>
#
# Partly. The wheels make the cars. Other maps take one part of the object or spill over to the background, and they are
# coarse. Four pictures are an impression, not a measurement. That comes next.
#
# </details>

# %%
layer = "blocks.4" if "blocks.4" in tuned.model.survey.order else None
seen = checked.pixels[:4]
maps = tp.grad_cam(tuned.model, tuned.model.preprocessing.normalize(seen), layer=layer)
tp.show(maps, pixels=seen)

# %% [markdown]
# ## Measured with masks
#
# The masks of the drawn objects turn the impression into a number. [tp.relevance_mass](api:relevance_mass) is the share of
# the map that lies inside the mask. A map that knows nothing would have as much there as the object covers of the picture:
# its **area**. The masks must go through the same resizing and cutting as the pictures, else they are shifted against the
# map.
#
# **Predict.** The objects cover about an eighth of what the network sees. Which share of the maps lies on them?
#
# <details><summary>Answer</summary>
#
# About four tenths, three times the area. It is not more because a place of this layer stands for 16 × 16 pixels, and sees
# far beyond them. Judge such a number by comparing it: with the area, and with another network.
#
# </details>


# %%
def mass(network, pictures):
    """The share of each Grad-CAM map that lies on the object, and the objects' areas."""
    masks = pictures.masks[:, None].float().expand(-1, 3, -1, -1)
    masks = network.preprocessing.crop(masks)[:, 0] > 0.5
    images = network.preprocess(pictures.pixels)
    return tp.relevance_mass(tp.grad_cam(network, images, layer=layer), masks)


few = others.take(range(here.quick(8, full=32)))
measured = mass(tuned.model, few)
print(measured)
tp.show(measured)

# %%
share, area = float(measured.value.nanmean()), float(measured.area.mean())
here.see(share > 1.7 * area, "much more of the maps lies on the objects than by chance")

# %% [markdown]
# ## A folder that invites cheating
#
# Now a folder as careless people make it: all houses were photographed on grass, all fish in snow, and so on. The held-out
# pictures come from the same folder, so they have the same backgrounds. The network may learn the object, the background, or
# both.
#
# **Predict.** Will the held-out accuracy be lower than before? Will the Grad-CAM maps lie less on the objects?
#
# <details><summary>Answer</summary>
#
# The accuracy is as high as before or higher: the background helps. But less of the maps lies on the objects, and where an
# object stands on the background of another class, many answers are wrong. The accuracy alone could not warn us. The maps
# could.
#
# </details>

# %%
cue = {"size": 160, "classes": classes, "shortcut": "background"}
careless = tp.planted("objects", n=120, rate=1.0, seed=0, **cue)
usual = tp.planted("objects", n=80, rate=1.0, seed=1, **cue)
moved = tp.planted("objects", n=80, cues="conflicting", seed=1, **cue)
cheater = tp.fine_tune(model, careless, validation=usual, **settings)
wrong = tp.check_predictions(cheater.model, moved, of="all", shows="wrong", n=12)
print(f"held out {cheater.accuracy:.0%}, on other backgrounds {wrong.accuracy:.0%}")
tp.show(wrong)

# %%
few = usual.take(range(here.quick(8, full=32)))
there = float(mass(cheater.model, few).value.nanmean())
print(f"share of the maps on the objects: {there:.2f} of the network that cheats")
here.see(cheater.accuracy > 0.9, "on its own held-out pictures it is right")
here.see(
    wrong.accuracy < cheater.accuracy - 0.1,
    "with the background of another class it is wrong far more often",
)
if mine is None:
    honest = float(mass(tuned.model, few).value.nanmean())
    print(f"and {honest:.2f} of the first one, on the same pictures")
    here.see(there < 0.85 * honest, "its maps lie less on the objects")

# %% [markdown]
# ## Misconceptions
#
# * *"Fine-tuning needs thousands of pictures and a graphics card."* For a new head, some tens a class and seconds on a CPU.
# * *"Held-out pictures protect me."* Only from learning by heart. A shortcut that is in all your pictures is in those, too.
# * *"The map lies on the object, so the network knows the object."* It looks there. Whether it sees what you see is another
#   question, for example whether it goes by the colour alone.
# * *"A low relevance mass proves a shortcut."* A coarse layer has a low mass anyway. Compare two networks on the same
#   pictures and the same layer.
# * *"Fine-tuning forgets nothing."* With a frozen body that is so. If the body is trained, too, it may lose what it knew.
#
# ## Formulas
#
# With the frozen body $f$ (1280 numbers $f(x)$ for a picture $x$), the head has weights $W$ and a bias $b$, and only these
# learn:
#
# $$z = W f(x) + b, \qquad \min_{W, b} \; -\frac{1}{N} \sum_{i=1}^{N} \log \frac{e^{z_{y_i}(x_i)}}{\sum_k e^{z_k(x_i)}}$$
#
# where $y_i$ is the class of picture $x_i$, and $N$ their number. With the positive part $R^+$ of the map and the mask $M$
# (the set of the object's pixels), the relevance mass is
#
# $$\text{mass} = \frac{\sum_{p \in M} R^+_p}{\sum_{p} R^+_p}$$
#
# ## On your own picture
#
#     tapetum lesson 13 --data pets --model resnet50
#     tapetum fine-tune pets --model resnet50 --out net
#     tapetum explain my.jpg --model net
#
# Look at the maps of ten held-out pictures before you trust the accuracy. Do they lie on what you would name as the reason?
# Then change what you suspect: another background, the corner with the watermark covered. [How to train](howto:train) has the
# settings.
#
# ## References
#
# * [Yosinski et al. 2014](bib:yosinski2014transferable): which layers of a network are of use for other tasks.
# * [Selvaraju et al. 2017](bib:selvaraju2017gradcam): Grad-CAM, also as a check of what a network has learned.
# * [Arras et al. 2022](bib:arras2022clevrxai): relevance mass, on pictures whose objects are known.
# * [Lesson 12](lesson:12) finds such a shortcut in networks that were trained from nothing.
