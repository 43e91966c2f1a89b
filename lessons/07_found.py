# %% [markdown]
# # 7 · What the pretrained net found
#
# **Found**: a network that has learned from a million photographs looks at yours; what is in its layers then? ·
# about 20 minutes · needs [lesson 5](lesson:5)
#
# You will
#
# * read a prediction with its names and probabilities, and know what it does not say
# * look at the maps of an early, a middle and a deep layer
# * tell channels that answer to many pictures from channels that answer to yours, with a control
# * see what the strongest channels of your picture look for
# * answer five questions about a network by measuring it

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(7)
model = here.model()
cat = here.picture("cat")
images = model.preprocess(cat)

# %% [markdown]
# ## What it says
#
# The last layer gives one number for each class, a logit $z_k$. The softmax turns the logits of all classes into numbers
# between 0 and 1 that add up to 1. They are called probabilities. The model must share out its 100 % among the classes it
# knows, whatever it is shown.
#
# **Predict.** The model knows 1000 classes. Three of them are tabby, tiger cat and Egyptian cat. How sure will it be of the
# first one? And what will it say of a picture in which every pixel is drawn by lot?
#
# <details><summary>Answer</summary>
#
# It is not sure at all: about 40 % for the first name, since three names fit and they share what there is. Noise gets an answer
# too: there is no class "nothing". That the first probability is low there (about 12 %) is a hint, not a safeguard: other
# pictures without any object get high ones.
#
# </details>

# %%
noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
both = torch.cat([images, model.preprocess(noise)])
answers = tp.predict(model, both, k=4)
tp.show(answers, pixels=model.denormalize(both))

# %%
every = tp.predict(model, images, k=1_000_000)[0]
here.holds(
    len(every) == 1 or abs(sum(one.probability for one in every) - 1) < 1e-3,
    "all probabilities add up to 1",
)
first, second, third = answers[0][:3]
here.see(
    first.label == "tiger cat" and first.probability < 0.5,
    "the first name is right and has less than half",
)
cats = {one.label for one in answers[0][:3]}
here.see(
    cats == {"tiger cat", "Egyptian cat", "tabby"},
    "the first three names are three names of a cat",
)

# %% [markdown]
# ## Three depths
#
# A layer gives one map for each of its channels. Here are the four channels of three layers whose values vary most from place
# to place. Each is drawn at the resolution of the layer, so you see how large a place is.
#
# **Predict.** Which of the three rows can you recognise as a cat? In which one are most values zero?
#
# <details><summary>Answer</summary>
#
# The first row: edges and patches of brightness at 112 × 112 places. The last has 7 × 7 places of 32 × 32 pixels: it says that
# something is there, and roughly where. Its values are mostly zero: each of its 1280 channels waits for something of its own,
# and few of those things are in one picture.
#
# </details>

# %%
maps = tp.activation_maps(model, images, k=4)
tp.show(maps)

# %%
early, *_, deep = [one.layer for one in maps]
with tp.capture(model, [early, deep]) as acts, torch.no_grad():
    model(images)
active = {layer: float((acts[layer] > 0).float().mean()) for layer in (early, deep)}
places = {layer: tuple(acts[layer].shape[1:]) for layer in (early, deep)}
print(places, active)
here.see(
    active[early] > 0.5 and active[deep] < 0.1,
    "early more than half of the values are above zero, deep less than a tenth",
)
here.see(
    places[early][1] >= 16 * places[deep][1],
    "a deep place stands for at least 16 early ones, side by side",
)

# %% [markdown]
# ## Channels for everything, channels for one picture
#
# One picture cannot tell you what a channel is about. Compare several at one layer: which channels are active in all of them,
# and which only in one? [tp.consistent_channels](api:consistent_channels) ranks the channels *within* each image. A percentile
# of 90 says that 90 of 100 channels have a lower mean there. The *consistency* of a channel is its lowest percentile over the
# images. Its *specificity* is how far its best image is ahead of the second best.
#
# The last row is noise, our control. A channel that is active there as well has not found what the photographs share.
#
# **Predict.** Four photographs: a cat, an astronaut, a cup of coffee, a rocket. If the ranks in the four images had nothing to
# do with each other, $1280 \times 0.1^4 = 0.13$ of 1280 channels would be among the top tenth of all four. How many are?
#
# <details><summary>Answer</summary>
#
# One. In the deep layer the four pictures share almost nothing. The channels on the right answer to one picture alone: one of
# them covers the whole face of the cat and is zero or nearly so in the others.
#
# </details>

# %%
others = [
    model.preprocess(here.picture(name)) for name in ("astronaut", "coffee", "rocket")
]
pictures = torch.cat([images, *others, model.preprocess(noise)])
found = tp.consistent_channels(model, pictures, layer=deep, k=8)
tp.show(found)

# %%
photographs = tp.consistent_channels(model, pictures[:4], layer=deep)
print(photographs)
of_the_cat = int(found.specificity.where(found.best == 0, -1).argmax())
means = found.activations[:, of_the_cat]
print(f"channel {of_the_cat}: {[round(float(one), 2) for one in means]}")
here.holds(
    bool((found.consistency == found.percentiles.amin(0)).all()),
    "consistency is the lowest percentile",
)
here.see(
    int((photographs.consistency >= 0.9).sum()) <= 3,
    "hardly any deep channel is among the top tenth of all four photographs",
)
here.see(
    float(means[0]) > 10 * float(means[1:].max()),
    "the cat's own channel is ten times as active there as in any other",
)

# %% [markdown]
# Now the same at the early layer. If a layer answers to what all pictures are made of (edges, brightness), then the channels
# that are strong in one picture are strong in the next as well: their ranks agree. We measure this as the correlation of the
# percentiles, averaged over the pairs of photographs: 1 says the same order, 0 says that the orders have nothing to do with
# each other.


# %%
def agreement(layer: str) -> float:
    ranks = tp.consistent_channels(model, pictures[:4], layer=layer).percentiles
    pairs = torch.corrcoef(ranks.float())
    return float((pairs.sum() - 4) / 12)


agree = {layer: agreement(layer) for layer in (early, deep)}
print(agree)
here.see(
    agree[early] > 0.6 and abs(agree[deep]) < 0.2,
    "the order of the channels agrees early, and not at all deep",
)

# %% [markdown]
# ## What the strongest channels look for
#
# The map says *where* a channel answered. To see *to what*, let us make the picture that it answers most to
# ([lesson 14](lesson:14) takes that apart). Above, the made pictures of the strongest channels in the cat; below, where they
# answered in it.
#
# **Predict.** Will you find cats in the made pictures of the early layer? Of the deep layer?
#
# <details><summary>Answer</summary>
#
# Early: stripes, dots and colours, which are in every picture. Deep: pieces that remind you of fur, eyes and ears, put together
# as no animal has them. The picture shows what drives the channel *most*. It does not show all that the channel answers to.
#
# </details>

# %%
steps = here.quick(24, full=128)
strongest = tp.filter_specialization(
    model, images, k=here.quick(3, full=5), size=here.side(model, 96), n_steps=steps
)
print(*strongest.notes, sep="\n")
tp.show(strongest)

# %%
share = strongest.numbers["share"].view(*strongest.channels.shape).sum(2)[0]
extent = strongest.numbers["extent"].view(*strongest.channels.shape).mean(2)[0]
here.holds(
    bool((extent <= 1).all() and (share <= 1).all()),
    "shares of places and of activation are at most 1",
)
here.see(
    float(extent[0]) < 0.2 < float(extent[-1]),
    "early channels answer in spots, deep ones over a large part of the picture",
)

# %% [markdown]
# ## Five questions, measured
#
# What is usually said of convolutional networks can be measured on yours.
#
# 1. **Hierarchy.** Do early layers answer to what all pictures share, and deep ones to what sets them apart? Measured above:
#    the agreement of ranks.
# 2. **Spatial loss.** How much of *where* is left? The number of places, and the pixels that one place stands for.
# 3. **Redundancy.** Do the channels say different things? From the covariance of the channels over all places one gets the
#    number of directions in which they really vary: as many as channels if they are unrelated and vary alike, 1 if all are
#    copies of one.
# 4. **Abstract inversions.** Can the picture be made again from the layer? [Lesson 15](lesson:15) does it with care; here are
#    three depths in few steps.
# 5. **Applications.** Are the deep features good for something that they were not trained for? We cut each photograph into four
#    overlapping corners, and ask of every corner whether its nearest neighbour comes from the same photograph.
#
# **Predict.** The early layer has 32 channels. In how many directions do they vary?
#
# <details><summary>Answer</summary>
#
# In about 7: many of its filters are the same edge at another brightness or colour, so most of what they say they say together.
#
# </details>


# %%
def directions(layer: str) -> float:
    with tp.capture(model, [layer]) as acts, torch.no_grad():
        model(pictures)
    values = acts[layer].movedim(1, 0).flatten(1).double()
    spread = torch.linalg.eigvalsh(torch.cov(values)).clamp(min=0)
    return float(spread.sum() ** 2 / spread.square().sum())


varying = {layer: directions(layer) for layer in (early, deep)}
for layer in (early, deep):
    channels, height, width = places[layer]
    print(f"{layer}: {height} x {width} places, {images.shape[-1] / width:.0f} px each; {channels} channels vary in "
          f"{varying[layer]:.1f} directions; ranks agree by {agree[layer]:.2f}")  # fmt: skip
    here.holds(
        1 <= varying[layer] <= channels,
        "there are at least 1 and at most as many directions as channels",
    )
here.see(
    varying[early] < places[early][0] / 3,
    "the early channels vary in less than a third as many directions",
)

# %%
photos = [cat, *(here.picture(name) for name in ("astronaut", "coffee", "rocket"))]


def corners(pixels: torch.Tensor) -> list[torch.Tensor]:
    height, width = (side * 6 // 10 for side in pixels.shape[-2:])
    rows, columns = (0, pixels.shape[-2] - height), (0, pixels.shape[-1] - width)
    return [
        pixels[..., top : top + height, left : left + width]
        for top in rows
        for left in columns
    ]


def found_again(vectors: torch.Tensor) -> float:
    nearest = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf).argmin(1)
    return float((nearest // 4 == torch.arange(len(vectors)) // 4).float().mean())


# %%
parts = torch.cat(
    [model.preprocess(part) for photo in photos for part in corners(photo)]
)
with tp.capture(model, [deep]) as acts, torch.no_grad():
    model(parts)
same = {
    "pixels": found_again(parts.flatten(1)),
    deep: found_again(acts[deep].mean((2, 3))),
}
print(same)
here.see(
    same[deep] > same["pixels"],
    "corners of one photograph are nearer to each other in the deep layer than in pixels",
)

# %%
left = tp.information_by_depth(
    model, images, layers=[one.layer for one in maps], n_steps=here.quick(6, full=60)
)
tp.show(left)

# %%
likeness = left.numbers["ssim"]
print(likeness)
here.see(
    bool((likeness.diff() < 0).all()),
    "the deeper the layer, the less of the photograph is found again",
)

# %% [markdown]
# ## Misconceptions
#
# * *"40 % means that the model is probably wrong."* The probability is shared among all names that fit. Look at the first few
#   names together.
# * *"A low probability protects from nonsense."* It says how the 100 % were shared among the known classes, not whether the
#   picture shows any of them.
# * *"A channel that is active in all my pictures has found what they share."* It may be active in everything. Put a control in.
# * *"Deep layers hold more information."* They hold less of the picture. What they hold is easier to use.
# * *"1280 channels are 1280 detectors."* Channels overlap: count the directions in which they vary.
#
# ## Formulas
#
# The softmax of the logits $z$ over the $K$ classes:
#
# $$p_k = \frac{e^{z_k}}{\sum_{j=1}^{K} e^{z_j}}$$
#
# Let $a_{ic}$ be the mean of the map of channel $c$ in image $i$, and $C$ the number of channels. The percentile of a channel
# is the share of the other channels with a lower mean (equal ones count half), and its consistency the lowest over the images:
#
# $$r_{ic} = \frac{|\{d : a_{id} < a_{ic}\}|}{C - 1}, \qquad \text{consistency}_c = \min_i r_{ic}$$
#
# Its specificity is the lead of the best image over the second best, in standard deviations of the image's channels:
#
# $$z_{ic} = \frac{a_{ic} - \mu_i}{\sigma_i}, \qquad \text{specificity}_c = z_{(1)c} - z_{(2)c}$$
#
# where $\mu_i$ and $\sigma_i$ are the mean and the standard deviation over the channels in image $i$, and $z_{(1)c}$,
# $z_{(2)c}$ the largest and the second largest of channel $c$.
#
# With $\lambda_1, \lambda_2, \dots$ the eigenvalues of the covariance of the channels over places, the number of directions is
#
# $$\frac{\left(\sum_j \lambda_j\right)^2}{\sum_j \lambda_j^2}$$
#
# ## On your own picture
#
#     tapetum lesson 7 --model resnet50 --image dog.jpg
#     tapetum run consistent_channels one.jpg two.jpg three.jpg --layer layer4 --out found
#
# Look at the right half of the matrix: is there a channel that only your picture drives, and where in it does it answer?
#
# While `tapetum studio` runs, [the channels that answer to the cat](studio:found?pictures=cat) open in it.
#
# ## References
#
# * [Olah et al. 2017](bib:olah2017feature), Feature Visualization: what channels look for.
# * [Mahendran and Vedaldi 2015](bib:mahendran2015inversion): what is left of a picture at each depth.
# * Next: [lesson 8](lesson:8), which pixels mattered for the answer.
