# %% [markdown]
# # 1 · An image is numbers
#
# **Trust**: a network never sees your photograph, only a table of numbers made from it; is it the right table? ·
# about 15 minutes
#
# You will
#
# * read a photograph as three tables of numbers, and change them
# * follow it through resizing, cropping and normalising, with the size and range at each step
# * see what the crop leaves out and what squashing bends
# * feed a network wrong numbers and watch it answer all the same

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(1)
model = here.model()
cat = here.picture("cat")
images = model.preprocess(cat)
print(cat.shape, images.shape)

# %% [markdown]
# ## Three tables
#
# The shape of a photograph in PyTorch is $(n, 3, h, w)$: how many photographs, three colours, rows, columns. Each number says
# how bright one colour is at one place. Files store it as a whole number from 0 to 255, here it is that number divided by 255,
# so from 0 to 1. Nothing else is in there. No outline, no "cat".
#
# The picture below shows what you see on the left, and what a machine has on the right. A channel alone has no colour: it says
# *how much* red, so it is drawn in grey. The lower row is the small patch in the frame, with its numbers written out.
#
# **Predict.** The cat is ginger and the background is beige. Which of the three tables will be the brightest, and which the
# darkest?
#
# <details><summary>Answer</summary>
#
# Red is the brightest, blue the darkest. Ginger, beige and skin are much red, some green and little blue. A photograph of the
# sky would be the other way round.
#
# </details>

# %%
seen = tp.color_channels(model, images)
tp.show(seen)

# %%
print(seen)
red, green, blue = (float(one) for one in seen.photographs[0].mean((1, 2)))
here.holds(
    float(seen.photographs.min()) >= 0 and float(seen.photographs.max()) <= 1,
    "brightness lies between 0 and 1",
)
here.see(red > green > blue, "red is the brightest channel, blue the darkest")

# %% [markdown]
# ## Change the numbers, change the picture
#
# Since an image is a tensor, you edit it with arithmetic. Adding makes it brighter, multiplying by less than one makes it
# darker, turning a table round turns the picture round. Four edits and what the network says to each:
#
# 1. as it was,
# 2. the channels in the other order, blue first (a classic mistake: some libraries read files that way),
# 3. every number times 0.3,
# 4. all pixels shuffled: exactly the same numbers, in other places.
#
# **Predict.** Which of the edits will cost the network most?
#
# <details><summary>Answer</summary>
#
# The shuffle. The mean, the range and even the complete histogram are as they were, and the network has no idea any more: what
# it goes by is which numbers lie *beside each other*. That is what the filters of [lesson 2](lesson:2) look at. The wrong
# order of the channels and the dark picture cost less than you might think. That is not good news: no error tells you.
#
# </details>

# %%
pixels = model.denormalize(images)
height, width = pixels.shape[-2:]
places = torch.randperm(height * width, generator=torch.Generator().manual_seed(0))
shuffled = pixels.flatten(2)[..., places].view_as(pixels)
edits = torch.cat([pixels, pixels.flip(1), pixels * 0.3, shuffled])
edited = model.preprocessing.normalize(edits).to(images)
answers = tp.predict(model, edited, k=3)
tp.show(answers, pixels=edits)

# %%
names = [{one.label for one in answer} for answer in answers]
here.holds(
    torch.equal(pixels.flatten(2).sort().values, shuffled.flatten(2).sort().values),
    "the shuffled picture has exactly the numbers of the other",
)
here.see(
    names[0] == names[1] == names[2] == {"tiger cat", "Egyptian cat", "tabby"},
    "three names of a cat, also with blue first and in the dark",
)
here.see(not names[0] & names[3], "shuffled, none of these names is left")

# %% [markdown]
# ## From the photograph to the input
#
# Photographs have any size. A network wants one size, and the range of values that it was trained with. So each
# [VisionModel](api:VisionModel) brings its own preprocessing: resize so that the shorter side fits, cut out the middle, then
# normalise each channel,
#
# $$x = \frac{p - \text{mean}}{\text{std}},$$
#
# with $p$ the pixel from 0 to 1, and the mean and the standard deviation (std) that were used in training. The picture
# compares this way with three others: squash the whole photograph into a square, leave it at its own size, and what training
# does, crop a random part, another one each time.
#
# **Predict.** The photograph has 300 × 451 pixels. What share of it does the network get to see?
#
# <details><summary>Answer</summary>
#
# About half: 51 %. The left and the right are cut off, since the photograph is wider than high, and a little on all sides,
# since the shorter side is resized to more than the crop. Whatever is there cannot count. Squashing sees everything, and bends
# the cat to 0.67 of its width.
#
# </details>

# %%
steps = tp.preprocessing_steps(model, [cat])
tp.show(steps)

# %%
print(steps)
own, squash, as_it_is, crop = steps.ways[0]
here.holds(
    all(
        torch.allclose(way.steps[-1].values, way.steps[-3].values, atol=1e-4)
        for way in steps.ways[0]
    ),
    "normalised values, denormalised, are the pixels again",
)
here.holds(squash.kept() > 0.999, "squashing leaves nothing out")
here.see(abs(own.kept() - 0.51) < 0.01, "the network sees 51 % of the photograph")
here.see(abs(squash.stretched - 0.67) < 0.01, "squashing bends it to 0.67 of its width")

# %% [markdown]
# The last column, *back again*, matters for everything that follows in this course: maps are drawn over **what the model
# saw**, that is over the denormalised crop, and never over the whole photograph. A map of the crop laid over the whole
# photograph would point at wrong places.
#
# ## Wrong numbers, and no error
#
# A network takes any table of the right shape. Here is one photograph of a cup, prepared in four ways: as it should be, not
# normalised at all, normalised twice, and squashed.
#
# **Predict.** Will the answer be wrong? Will there be a warning?
#
# <details><summary>Answer</summary>
#
# The first name stays, espresso, but the network is less and less sure: 95 % with the right numbers, 79 % without
# normalisation, 66 % when it is done twice. There is no warning, and with a photograph that is less clear the answer changes.
# This is why a tensor given to [tp.predict](api:predict) must be *model-ready*, and why `model.preprocess` is the one right
# way to make it.
#
# </details>

# %%
coffee = here.picture("coffee")
right = model.preprocess(coffee)
pixels = model.denormalize(right)
squashed = tp.preprocessing_steps(model, [coffee]).ways[0][1].steps[-2].values[None]
twice = model.preprocessing.normalize(right)
if squashed.shape != right.shape:  # of a model with one channel, or another size
    squashed = right
answers = tp.predict(model, torch.cat([right, pixels.to(right), twice, squashed]), k=3)
tp.show(answers, pixels=model.denormalize(torch.cat([right, right, right, squashed])))

# %%
sure = [answer[0].probability for answer in answers]
print([(answer[0].label, round(answer[0].probability, 2)) for answer in answers])
here.see(
    all(answer[0].label == "espresso" for answer in answers),
    "espresso it is each time",
)
here.see(
    sure[0] > 0.9 and sure[0] - sure[1] > 0.1 and sure[0] - sure[2] > 0.2,
    "wrong normalisation costs more than 10 and 20 points of certainty",
)

# %% [markdown]
# Some mistakes can be seen from the numbers alone, and those are refused. Values from 0 to 255 are:

# %%
try:
    tp.predict(model, torch.full_like(images, 128.0))
    refused = ""
except tp.TapetumError as error:
    refused = str(error)
print(refused)
here.see("0..255" in refused, "values from 0 to 255 are refused")

# %% [markdown]
# ## Misconceptions
#
# * *The network looks at my photograph.* It gets a small table made from it, often half of the photograph, and nothing else.
# * *Normalising makes the picture better.* It changes no information, only the units: the network expects those of its
#   training, as a recipe expects grams.
# * *If the shape is right, the input is right.* The shape is all that PyTorch checks. Order of channels, range and crop are
#   yours to get right.
# * *The red channel is red.* It is a table of brightnesses. It becomes red only on a screen that lights red lamps with it.
#
# ## Formulas
#
# * Normalise: $x_{cyx} = (p_{cyx} - m_c) / s_c$, with $p$ the pixel in $[0, 1]$ of channel $c$ at row $y$ and column $x$,
#   $m_c$ the mean and $s_c$ the standard deviation of that channel, as in training. Back: $p = x \cdot s + m$.
# * Resize and cut: with $r$ the size of the shorter side after resizing and $c$ the side of the crop, the share of a
#   photograph of $h \times w$ pixels that is seen is about $\frac{c^2}{r^2} \cdot \frac{\min(h, w)}{\max(h, w)}$: here
#   $\frac{224^2}{256^2} \cdot \frac{300}{451} = 0.51$.
# * Numbers of an image: $3 \cdot h \cdot w$, here $3 \cdot 224 \cdot 224 = 150{,}528$.
#
# ## On your own picture
#
# `tapetum lesson 1 --image dog.jpg --model resnet50` runs this lesson on your photograph. Look at the frame in the third
# picture first: is the thing that you care about inside? Then try a portrait photograph and a panorama.
#
# ## References
#
# * [Russakovsky et al. 2015](bib:russakovsky2015imagenet): the million photographs that most networks are trained on.
# * [Touvron et al. 2019](bib:touvron2019fixres): random crops in training and central crops in use show objects at different
#   sizes, and what that costs.
# * [tp.preprocessing_steps](api:preprocessing_steps), [tp.color_channels](api:color_channels), [tp.predict](api:predict).
