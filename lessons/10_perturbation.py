# %% [markdown]
# # 10 · Perturbation
#
# **Trust**: what happens when this part is hidden? · about 20 minutes · needs [lesson 9](lesson:9)
#
# You will
#
# - hide parts of a picture and measure what the answer loses;
# - see that "hidden" is a choice, and what depends on it;
# - sample random masks, and fit a small linear model to a large network;
# - put maps to the test against maps that know nothing.

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(10)
model = here.model()
images = model.preprocess(here.picture("coffee"))
seen = model.denormalize(images)
k = tp.predict(model, images)[0][0].index
tp.show(tp.predict(model, images, k=3), pixels=seen)

# %% [markdown]
# ## One square, by hand
#
# The most direct question of all: cover a place, run the network again, and look at the score. The drop is what the place was
# worth. No gradients are needed, so it works for any model that answers. Sliding the square over the picture gives a map:
# occlusion, from [Zeiler and Fergus 2014](bib:zeiler2014deconvnet).

# %%
side = images.shape[-1] // 4
covered = images.clone()
covered[..., side : 2 * side, side : 2 * side] = 0
score = tp.as_score(model, images, k)
with torch.no_grad():
    drop = float(score(images) - score(covered))
occlusion = tp.occlusion(model, images, k, window=side, stride=side)
tp.show(occlusion, pixels=model.denormalize(covered))

# %%
at_the_place = float(occlusion.values[0, 0, side + side // 2, side + side // 2])
print(f"drop of the score by hand {drop:.3f}, in the map {at_the_place:.3f}")
here.holds(
    abs(drop - at_the_place) < 1e-3 * max(1.0, abs(drop)),
    "the map holds the drop of the score, in units of the score",
)

# %% [markdown]
# Blue squares are real: without them the score is *higher*. Something there spoke for other classes, or the square itself
# helped.
#
# ## What hides
#
# A grey square is not "nothing". It is a grey square, with four sharp edges, on a picture that no network was trained on.
#
# **Predict.** We cover with mean grey, with black, with white and with a blurred copy of the picture. Will the four maps be
# alike?
#
# <details><summary>Answer</summary>
#
# In part. Where the important thing is covered all of them drop. Elsewhere they differ, since each cover adds something of its
# own. A conclusion that holds for one fill only is a conclusion about the fill.
#
# </details>

# %%
fills = ["zero", "black", "white", "blur"]
by_fill = [
    tp.occlusion(model, images, k, window=side, stride=side, fill=fill)
    for fill in fills
]
tp.show(by_fill, pixels=seen, names=[f"fill: {fill}" for fill in fills])


# %%
def alike(a, b):
    """The correlation of two heatmaps: 1 the same, 0 unrelated."""
    pair = torch.stack([a.heatmap().flatten(), b.heatmap().flatten()])
    return float(torch.corrcoef(pair)[0, 1])


pairs = {(a, b): alike(by_fill[a], by_fill[b]) for a in range(4) for b in range(a)}
low = min(pairs, key=pairs.get)
print(
    f"correlations from {min(pairs.values()):.2f} ({fills[low[0]]} and {fills[low[1]]}) to {max(pairs.values()):.2f}"
)
here.see(min(pairs.values()) < 0.95, "the fill changes the map")
here.see(min(pairs.values()) > 0.2, "but all fills agree in part")

# %% [markdown]
# In a normalised model `zero` is the mean colour of the training pictures: grey, not black. Blur adds least of its own, and is
# what [tp.compare_maps](api:compare_maps) and the report of `tapetum explain` use.
#
# ## Many random masks: RISE
#
# Squares have a size that you must choose. [RISE](bib:petsiuk2018rise) shows the network hundreds of random halves of the
# picture. A place is important if the probability was high *whenever it could be seen*: the map is a mean over masks. Being a
# mean, it has a standard error.

# %%
n_masks = here.quick(100, full=600)
rise = tp.rise(model, images, k, n_masks=n_masks, seed=1)
tp.show(rise, pixels=seen)

# %%
spread = float(rise.values.std() / rise.stderr.mean())
print(f"{n_masks} masks: the map varies over places by {spread:.1f} standard errors")
here.see(spread > 0.5, "some of the map is more than chance")

# %% [markdown]
# ## A linear model of the neighbourhood: LIME
#
# [LIME](bib:ribeiro2016lime) cuts the picture into segments that follow its own borders, hides random sets of them, and fits
# the answers with a linear model: one weight for each segment. It is a simple model of a complicated one, near this picture.
#
# **Predict.** Occlusion with this square needs 16 passes, RISE took some hundreds. How many does Grad-CAM need?
#
# <details><summary>Answer</summary>
#
# One forward pass, and a backward pass through what lies behind its layer. That is the price of perturbation: it asks the model
# again and again. It buys an answer about the model itself, and not about its slopes.
#
# </details>

# %%
n_samples = here.quick(60, full=400)
lime = tp.lime(model, images, k, n_samples=n_samples, seed=1)
grad_cam = tp.grad_cam(model, images, k)
tp.show([occlusion, rise, lime, grad_cam], pixels=seen)

# %%
weights = lime.values.unique()
print(
    f"LIME has {len(weights)} different weights, one for each segment; {n_samples} passes"
)
here.see(len(weights) < n_samples, "a linear model of fewer weights than samples")

# %% [markdown]
# ## Which of them is true?
#
# Nobody knows the true map. But a map makes a claim that can be tested: *these places matter most*. So hide them first
# (deletion: the probability should fall at once) or show them first (insertion: it should rise at once). The area under the
# curve is a number. Some maps know nothing of the decision: random maps, the edges of the picture, and a blob in its middle,
# where photographers put things. A map *stands up* if it is more faithful than all of them: than random ones with a probability
# of at most one in twenty that chance did it, for all the maps together. [Lesson 17](lesson:17) is about that verdict.
#
# **Predict.** The cup is in the middle. Which is harder to beat: the edges, or the blob?
#
# <details><summary>Answer</summary>
#
# The line of each map below says it. On many photographs it is the blob: a map that only says "the middle" is right
# surprisingly often. That is worth knowing before one believes a map.
#
# </details>

# %%
settings = here.quick({"n_steps": 5, "draws": 1}, full={"n_steps": 14, "draws": 3})
compared = tp.compare_maps(model, images, [occlusion, rise, lime, grad_cam], **settings)
print(compared)
tp.show(compared)

# %%
tp.show(compared.verdicts)

# %%
here.see(bool(compared.verdicts.stands.any()), "at least one map stands up")
here.see(
    float(compared.agreement[0, 3]) > 0.2,
    "occlusion and Grad-CAM, made in different ways, agree more than chance",
)

# %% [markdown]
# Two maps that were made by different ideas, that stand up, and that point to the same place: that is as much
# evidence as one picture can give. [tp.evaluate](api:evaluate) measures one map; here is the deletion of the best one alone.

# %%
winner = compared.maps[int(compared.faithfulness[:4].argmax())]
deletion = tp.evaluate(
    model,
    images,
    winner,
    ["deletion"],
    n_steps=settings["n_steps"],
    cells=14,
    fill="blur",
)["deletion"]
tp.show(deletion)

# %% [markdown]
# ## Misconceptions
#
# **What people think:** hiding is neutral. **What is so:** every fill is a picture of something. Try two.
#
# **What people think:** LIME explains the network. **What is so:** it explains a linear model that imitates the network near
# this picture. With few samples another seed gives another map: look at `stderr`.
#
# **What people think:** a better deletion score on one picture means a better method. **What is so:** one picture ranks
# nothing. The area also depends on how sure the model was to begin with.
#
# **What people think:** a faithful map shows that the model is right. **What is so:** it shows what the model uses. A model
# that knows wolves by snow has a faithful map of snow ([lesson 12](lesson:12)).
#
# ## Formulas
#
# Occlusion at a place that the window $w$ covers, with $\odot$ the product pixel by pixel, $m_w$ a mask that is 0 in the window
# and 1 elsewhere, and $f$ the fill:
#
# $$O = S(x) - S\big(m_w \odot x + (1 - m_w) \odot f\big)$$
#
# RISE, with $n$ masks $m_j$ that show a place with probability $q$, and $P$ the probability of the class. Subtracting 1 takes
# out what a mask gives to every place alike, so that the map is signed:
#
# $$R = \frac{1}{n} \sum_{j=1}^{n} P(m_j \odot x) \left( \frac{m_j}{q} - 1 \right)$$
#
# Deletion: the area under $P$ against the share of the picture that is hidden, most important places first.
#
# ## On your own picture
#
# `tapetum lesson 10 --model resnet50 --image dog.jpg`, or the whole test at once: `tapetum explain dog.jpg --out report`. Which
# maps stand up on your picture? Do they agree?
#
# While `tapetum studio` runs, [the maps of this lesson](studio:mattered?methods=occlusion,rise,lime&pictures=coffee) open in
# it.
#
# ## References
#
# - [Zeiler and Fergus 2014](bib:zeiler2014deconvnet): occlusion.
# - [Petsiuk et al. 2018](bib:petsiuk2018rise): RISE, deletion and insertion.
# - [Ribeiro et al. 2016](bib:ribeiro2016lime): LIME.
