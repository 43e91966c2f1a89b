# %% [markdown]
# # 16 · Dataset examples and the activation spectrum
#
# **Found**: which real pictures does a channel answer to, from the least to the most? · about 20 minutes ·
# needs [lesson 14](lesson:14)
#
# You will
#
# * scan a data set once, and ask it many questions afterwards
# * find the channel that tells rings from all other shapes, and check on fresh pictures that it really does
# * see a channel's whole spectrum: minimum, slightly negative, slightly positive, maximum
# * know when the maximum and when the mean of a map is the right score
# * ask which channels fire on your own picture, compared with a data set

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(16)
given = here.model()
seen = given.preprocessing
side = here.side(given, 96)
model = tp.wrap(
    given.module,
    size=side,
    resize=side,
    mean=seen.mean,
    std=seen.std,
    labels=given.labels,
    name=given.name,
)

# %% [markdown]
# ## Pictures whose truth we know
#
# On photographs you can only guess what a channel answers to. So we begin with pictures that are drawn
# ([tp.planted](api:planted)): one of eight shapes, of random size, place, angle and colour, on one of eight backgrounds
# that has nothing to do with the shape. The network was trained on photographs and has never seen them. We split them: one
# half to look for channels, the other half to check.
#
# **Predict.** Does a network that was trained on animals and things have a channel for rings? For grass?
#
# <details><summary>Answer</summary>
#
# For both, and nobody told it to. Rings help to tell wheels, buttons and plates, and grass goes with sheep and dogs. Below
# you measure how good they are.
#
# </details>

# %%
data = tp.planted("shapes", n=here.quick(240, full=800), size=96)
half = torch.arange(len(data)) % 2 == 0
to_look, to_check = data.take(half), data.take(~half)
tp.show(to_look.take(range(16)))

# %% [markdown]
# ## One scan, many questions
#
# [tp.scan](api:scan) shows every picture to the network once. The tracker `tp.Scores` keeps one number for each channel and
# picture: the largest value of the channel's map (`"max"`), or its mean over the places (`"mean"`).
#
# How well does a channel alone tell rings from the rest? Take every pair of a picture with a ring and one without. The
# share of pairs in which the ring has the higher score is 1 for a perfect channel and 0.5 for a coin.
#
# **Predict.** There are about a hundred channels in the layer. If none had to do with rings, would the best of them be at
# 0.5?
#
# <details><summary>Answer</summary>
#
# No, well above: the best of a hundred coins has luck. That is why we have a second half. With names that are dealt out at
# random, the best channel of the first half falls back to about 0.5 in the second half. The channel for rings does not.
#
# </details>

# %%
layer = "blocks.4"
if here.own_model is not None:  # a layer of your own network
    maps = tp.activation_maps(model, model.preprocess(here.picture("cat")))
    layer = maps[-1].layer
trackers = {layer: [tp.Scores(), tp.Scores(score="mean")]}
look = tp.scan(model, to_look, trackers, workers=1)[layer]
check = tp.scan(model, to_check, trackers, workers=1)[layer]
print(
    f"{layer}: {look[0].scores.shape[1]} channels, {len(to_look)} pictures in each half"
)


def separates(scores: torch.Tensor, member: torch.Tensor) -> torch.Tensor:
    """Of each channel: the share of pairs in which the member has the higher score."""
    inside, outside = scores[member][:, None], scores[~member][None]
    pairs = (inside > outside).double() + 0.5 * (inside == outside)
    return pairs.mean((0, 1))


# %%
def rings(part) -> torch.Tensor:
    return torch.tensor([label == "ring" for label in part.labels])


by_look = separates(look[0].scores, rings(to_look))
ring_channel = int(by_look.argmax())
found = float(by_look[ring_channel])
checked = float(separates(check[0].scores, rings(to_check))[ring_channel])
unit = f"{layer}:{ring_channel}"
print(f"{unit}: {found:.2f} where we looked, {checked:.2f} where we check")
here.holds(0 <= checked <= 1, "a share of pairs is between 0 and 1")
here.see(checked > 0.8, "the channel tells rings from the rest on fresh pictures too")

# %%
generator = torch.Generator().manual_seed(0)
lucky, fresh = [], []
for _ in range(10):
    dealt = rings(to_look)[torch.randperm(len(to_look), generator=generator)]
    other = rings(to_check)[torch.randperm(len(to_check), generator=generator)]
    luck = separates(look[0].scores, dealt)
    lucky.append(float(luck.max()))
    fresh.append(float(separates(check[0].scores, other)[luck.argmax()]))
best, again = sum(lucky) / 10, sum(fresh) / 10
print(f"names dealt at random: best {best:.2f}, in the second half {again:.2f}")
here.see(best > 0.55, "by luck alone the best channel looks better than a coin")
here.see(abs(again - 0.5) < 0.1, "and is a coin again in the second half")

# %%
tops = tp.top_examples(model, to_check, unit, k=9, workers=1)
tp.show(tops)

# %%
shapes = [example.id.partition("_")[2] for example in tops[0].examples]
print(shapes)
here.see(
    shapes.count("ring") >= 4, "of the nine strongest pictures four or more are rings"
)

# %% [markdown]
# ## The spectrum
#
# The strongest pictures are one end. What does the channel make of all others?
# [tp.activation_spectrum](api:activation_spectrum) shows the picture made against it, the true minimum of the data set, the
# pictures just below and just above zero, the true maximum, and the picture made for it ([lesson 14](lesson:14)). Below it,
# the histogram of the scores. A score here is the *largest* value of the map, so a minimum says that the channel was low
# *everywhere*.
#
# **Predict.** The channel is for rings. What will be at its minimum: shapes with corners, the opposite of round?
#
# <details><summary>Answer</summary>
#
# No: all shapes, but nearly all of them on pebbles. For a low maximum, no place at all may answer, and pebbles keep every
# place low. What a channel is against need not be the opposite of what it is for. Most pictures are far above zero, so
# "slightly positive" is still the lower end here: look at the histogram before you read the columns.
#
# </details>

# %%
spectrum = tp.activation_spectrum(
    model, data, unit, k=9, size=side, n_steps=here.quick(32, full=128), workers=1
)
tp.show(spectrum)

# %%
one = spectrum[0]
least = max(example.score for example in one.minimum.examples)
most = min(example.score for example in one.maximum.examples)
here.holds(least <= most, "no picture of the minimum is above one of the maximum")
above = all(one.threshold <= each.score for each in one.slightly_positive.examples)
below = all(each.score < one.threshold for each in one.slightly_negative.examples)
here.holds(above and below, "the two in the middle lie on their sides of the threshold")
made = float(one.optimized.scores[1])
real = float(torch.cat([look[1].scores, check[1].scores])[:, ring_channel].max())
print(
    f"mean over the places: {made:.1f} of the made picture, {real:.1f} of the best real"
)
low = [data.recipes[each.sample].background for each in one.minimum.examples]
here.see(low.count("pebbles") >= 6, "most pictures at the minimum are on pebbles")
here.see(made > real, "in what it was made for, its mean, the made picture beats all")

# %% [markdown]
# ## Maximum or mean
#
# The *maximum* over the places asks whether the thing is anywhere. The *mean* asks how much of the picture is like that. A
# ring is in one place; grass is everywhere.
#
# **Predict.** Which score separates rings better, which one grass?
#
# <details><summary>Answer</summary>
#
# The ring needs the maximum. In the mean, the place of the ring is one of 36, and the background decides: by their means the
# strongest pictures of the *ring* channel are all on wood. Whoever looks at those alone will call it a detector of wood.
# Grass can do with either score.
#
# </details>

# %%
grass = [torch.tensor([one.background == "grass" for one in part.recipes])
         for part in (to_look, to_check)]  # fmt: skip
for name, member in (("ring", [rings(to_look), rings(to_check)]), ("grass", grass)):
    for which, score in enumerate(("max", "mean")):
        first = separates(look[which].scores, member[0])
        fresh_pictures = separates(check[which].scores, member[1])[first.argmax()]
        print(
            f"{name:5} {score:4}: {layer}:{int(first.argmax())}, {fresh_pictures:.2f}"
        )

# %%
grass_channel = int(separates(look[1].scores, grass[0]).argmax())
units = [unit, f"{layer}:{grass_channel}"]
by_mean = tp.top_examples(model, to_check, units, k=9, score="mean", workers=1)
tp.show(by_mean)

# %%
ring = [float(separates(part.scores, rings(to_check))[ring_channel]) for part in check]
green = float(separates(check[1].scores, grass[1])[grass_channel])
same = {one.id for one in tops[0].examples} & {one.id for one in by_mean[0].examples}
print(f"{unit} for rings: by the maximum {ring[0]:.2f}, by the mean {ring[1]:.2f}")
print(f"of its nine strongest pictures {len(same)} are the same by both scores")
wood = [to_check.recipes[each.sample].background for each in by_mean[0].examples]
here.see(wood.count("wood") >= 6, "by the mean, most of them are on wood")
here.see(ring[0] > ring[1], "the maximum tells rings better than the mean")
here.see(green > 0.85, "the mean tells grass from the other backgrounds")
here.see(len(same) < 9, "the two scores do not have the same strongest pictures")

# %% [markdown]
# ## Which channels fire on my picture?
#
# Is 3.2 a high score? That depends on the channel. Compare with its scores on the data set, in standard deviations (z). The
# channels with the highest z are those that your picture drives unusually much, *for this data set*.
#
# **Predict.** The data set are drawn shapes, your picture is a photograph. Will the z be around zero?
#
# <details><summary>Answer</summary>
#
# No, some are far out: a photograph has what no drawing here has. A z always speaks of a picture *and* a data set.
#
# </details>

# %%
cat = model.preprocess(here.picture("cat"))
with tp.capture(model, [layer]) as acts, torch.no_grad():
    model(cat)
z = look[0].z_scores(acts[layer].amax((2, 3)).float())[0]
strongest = z.nan_to_num(posinf=0, neginf=0).topk(3)
for channel, value in zip(*strongest[::-1], strict=True):
    print(f"{layer}:{int(channel)}: z {float(value):.1f}")
here.see(
    float(strongest.values[0]) > 3, "some channel is more than three sd above the data"
)

# %%
mine = [f"{layer}:{int(channel)}" for channel in strongest.indices]
tp.show(tp.top_examples(model, data, mine, k=6, workers=1))

# %% [markdown]
# ## Misconceptions
#
# * *"The nine strongest pictures say what the channel is."* They are the upper end of its scores. Look at the whole spectrum.
# * *"This channel detects rings: the best of a hundred has 0.9."* Check it on pictures that you did not choose it by.
# * *"A negative score means that the opposite is there."* It means lower than the threshold, often just *something else*.
# * *"Maximum and mean give the same order."* They ask different questions: whether it is there, and how much of it.
# * *"The examples show all that the channel can do."* They show what your data set has. Another data set, other examples.
#
# ## Formulas
#
# The two scores of channel $c$ on picture $x$, with $a_{cij}$ its value at row $i$ and column $j$ of a map of $h \times w$
# places:
#
# $$s_c^{\max}(x) = \max_{i,j} a_{cij}(x), \qquad s_c^{\text{mean}}(x) = \frac{1}{hw} \sum_{i,j} a_{cij}(x)$$
#
# How well a score separates the pictures $A$ of a class from the others $B$ (the area under the ROC curve):
#
# $$\text{AUC} = \frac{1}{|A||B|} \sum_{x \in A} \sum_{y \in B} \left( [s(x) > s(y)] + \tfrac{1}{2} [s(x) = s(y)] \right)$$
#
# where $[\cdot]$ is 1 if the statement is true, else 0. And with $\mu_c$, $\sigma_c$ the mean and the standard deviation of
# the channel's scores over the data set:
#
# $$z_c(x) = \frac{s_c(x) - \mu_c}{\sigma_c}$$
#
# ## On your own picture
#
#     tapetum lesson 16 --model resnet50 --image dog.jpg
#     tapetum examples layer3:5 --model resnet50 --data my_photos --out examples
#     tapetum spectrum layer3:5 --model resnet50 --data my_photos --out spectrum
#
# With a folder of your own photographs: do the strongest pictures and the made one show the same thing? More in
# [how to see which of my pictures a unit answers to](howto:scan).
#
# ## References
#
# * [Olah et al. 2017](bib:olah2017feature), Feature Visualization: the spectrum of a channel.
# * [Zeiler and Fergus 2014](bib:zeiler2014deconvnet): the nine strongest pictures of a channel.
