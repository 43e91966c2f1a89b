# %% [markdown]
# # 22 · Concepts, and what chance would give
#
# **Looks for**: what do the units of a layer mean *together*, and would noise have meant it as well? · about 25 minutes ·
# needs [lesson 16](lesson:16)
#
# You will
#
# * see that a unit answers to several things, and that one thing is spread over many units
# * find concepts with k-means of a few lines, and then with one call
# * set every result beside chance: shuffled channels, frozen directions, noise, a network that learned nothing
# * make a picture of a concept, remove it, and test whether an answer depends on it
# * give units names, and find out that a name with a tiny p-value can be wrong

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(22)

# %% [markdown]
# ## A unit is not a concept
#
# We need pictures whose parts are known ([tp.planted](api:planted)): six shapes, each on a ground of its own, always. A small
# network learns to tell the six apart. It can do so by the grounds alone, as in [lesson 12](lesson:12). So we know what to
# look for in it: grass, snow, water, sand, brick, clouds.

# %%
shapes = ("disc", "square", "triangle", "star", "ring", "cross")
grounds = ("grass", "snow", "water", "sand", "brick", "clouds")
how = {
    "size": 48,
    "classes": shapes,
    "shortcut": "background",
    "backgrounds": grounds,
}
n = here.quick(300, full=600)
data = tp.planted("shapes", n, rate=1.0, **how)
test = tp.planted("shapes", 120, rate=1.0, seed=1, **how)
history = tp.train(
    data, epochs=8, batch=16, learning_rate=3e-3, schedule="cosine", validation=0.1
)
model = history.model
accuracy = tp.check_predictions(model, test, of="all").accuracy
print(f"{accuracy:.0%} of the test pictures are answered rightly")
here.see(accuracy > 0.9, "the network tells the six apart")
tp.show(data)

# %% [markdown]
# The last layer with a map has 64 channels. We take the mean activation of each channel on each ground.
#
# **Predict.** There are 64 channels and six grounds. Will each channel be for one ground, about ten channels for each?
#
# <details><summary>Answer</summary>
#
# No. About half of the channels answer to a second ground at over half of their strength for the first. And what sets a
# ground apart from the others lies in no channel alone: the largest of the 64 parts of its direction is about a third.
#
# </details>

# %%
layer = "features.2.2"


def activations(network, pictures, layer=layer):
    with torch.no_grad(), tp.capture(network, [layer]) as maps:
        network(network.preprocess(pictures.pixels))
    return maps[layer]


means = activations(model, data).mean((2, 3))
kinds = range(len(grounds))
strength = torch.stack([means[data.targets == i].mean(0) for i in kinds])
order = strength.sort(0, descending=True).values / strength.amax(0).clamp_min(1e-6)
shared = float((order[1] > 0.5).float().mean())
unit = int((order[1] - order[2]).argmax())
print(f"{shared:.0%} of the channels answer to two grounds or more")
answers = zip(grounds, strength[:, unit].tolist(), strict=True)
print(f"{layer}:{unit}:", ", ".join(f"{one} {mean:.2f}" for one, mean in answers))
here.see(shared > 0.25, "more than a quarter of the channels are for several grounds")
tp.show(tp.top_examples(model, data, f"{layer}:{unit}", k=8, score="mean", workers=1))

# %% [markdown]
# The strongest pictures need not show both grounds, although the means are nearly equal: they are one end of the spectrum.
#
# Because we drew the pictures, we know the direction of each ground: the mean activation of its pictures, less that of the
# others. How much of it is in one channel?

# %%
fresh = activations(model, test).mean((2, 3))
known = torch.stack([fresh[test.targets == i].mean(0) - fresh[test.targets != i].mean(0)
                     for i in kinds])  # fmt: skip
largest = (known / known.norm(dim=1, keepdim=True)).abs().amax(1)
for ground, part in zip(grounds, largest.tolist(), strict=True):
    print(f"{ground:<7} |cosine| with its nearest channel {part:.2f}")
here.see(float(largest.max()) < 0.7, "no ground is the direction of one channel")

# %% [markdown]
# ## A dictionary
#
# If channels do not mean one thing each, perhaps *directions* in the space of the channels do. Every place of a map is a point
# with 64 coordinates. k-means looks for eight centres such that every point is near one: assign each point to its nearest
# centre, move each centre to the mean of its points, and repeat.
#
# How good is it? R² is the share of the variance that is kept when every point is replaced by its centre, on pictures that the
# centres were not fitted on.
#
# **Predict.** Eight centres for thousands of points in 64 dimensions. What R²: near 0, near a half, above?
#
# <details><summary>Answer</summary>
#
# Above a half. The layer has little to say but which of six grounds is at a place.
#
# </details>


# %%
def kmeans(rows, k, steps=20):
    generator = torch.Generator().manual_seed(0)
    centres = rows[torch.randperm(len(rows), generator=generator)[:k]]
    for _ in range(steps):
        own = torch.cdist(rows, centres).argmin(1)
        centres = torch.stack([rows[own == i].mean(0) if (own == i).any() else centres[i]
                               for i in range(k)])  # fmt: skip
    return centres


def r2(rows, centres):
    left = torch.cdist(rows, centres).amin(1).square().sum()
    return 1 - float(left / (rows - rows.mean(0)).square().sum())


def places(network, pictures):
    return activations(network, pictures)[:, :, ::3, ::3].movedim(1, 3).flatten(0, 2)


# %%
rows, held = places(model, data), places(model, test)
centres = kmeans(rows, 8)
by_hand = r2(held, centres)
print(f"{len(rows)} places, 8 centres: R2 {by_hand:.2f} on other pictures")
here.see(by_hand > 0.5, "eight centres keep more than half of the variance")

# %% [markdown]
# [tp.concepts](api:concepts) does this and more: each concept with the pictures where it is strongest, its place in them
# bright. Six ways to find directions are built in; `method="kmeans"` is ours.

# %%
about = {"n": 8, "k": 6, "workers": 1, "rows": here.quick(2000, full=6000)}
found = tp.concepts(model, data, layer, method="kmeans", **about)
print(found)
tp.show(found)

# %% [markdown]
# Is that what the network has? Here we can check, since we know the six directions.

# %%
back = found.recovery(known.double())
for ground, cosine, chance in zip(grounds, back.cosine, back.chance, strict=True):
    print(f"{ground:<7} |cosine| {float(cosine):.2f}, by chance {float(chance):.2f}")
here.see(int(back.found.sum()) >= 4, "the grounds have concepts of their own")
here.see(
    float(back.cosine.median()) > float(largest.max()) + 0.1,
    "concepts are nearer to the grounds than any channel",
)

# %% [markdown]
# ## What chance would give
#
# On your own network nobody knows the directions. You have the pictures and an R². Both come out of *any* data, so the
# question is what they would have been without a concept. Two ways to ask:
#
# * *shuffled channels*: deal the values of each channel out anew over the places. Every channel is what it was, but no two go
#   together, so there is nothing to find together. Then fit again.
# * *frozen directions*: eight random directions, as long as our centres, that were not fitted on anything.
#
# **Predict.** What is R² now, in both cases?
#
# <details><summary>Answer</summary>
#
# For shuffled channels it is a little above 0: whoever looks for groups finds some, even where there are none. Frozen centres
# are about as good as the mean alone, which has an R² of 0, or worse.
#
# </details>


# %%
def shuffled(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    mixed = [one[torch.randperm(len(one), generator=generator)] for one in rows.T]
    return torch.stack(mixed, 1)


middle = rows.mean(0)
lot = torch.randn(centres.shape, generator=torch.Generator().manual_seed(0))
sizes = (centres - middle).norm(dim=1, keepdim=True)
frozen = middle + sizes * lot / lot.norm(dim=1, keepdim=True)
mixed = r2(shuffled(held, 1), kmeans(shuffled(rows, 0), 8))
print(f"R2: ours {by_hand:.2f}, shuffled {mixed:.2f}, frozen {r2(held, frozen):.2f}")
print(f"found: {found.r2:.2f}, shuffled {found.shuffled[0]:.2f}, "
      f"frozen {found.null.r2[0]:.2f}")  # fmt: skip
here.see(by_hand > mixed + 0.2, "ours rebuilds far more than that of shuffled channels")
here.see(r2(held, frozen) < by_hand - 0.2, "and than frozen directions")
here.see(found.verdict == "better than random directions", "so the verdict is: better")

# %% [markdown]
# The `verdict` asks for a third thing. Five refits, each from another start on a resample of the pictures, must find the
# concepts again, more than random ones find each other (`agreement`).
#
# Now a network that computes noise: its channels depend on the picture, but have nothing to do with each other or with
# anything in it.
#
# **Predict.** Its concepts have best pictures, too, six each, with bright places. There are six grounds. In the most uniform of
# the eight rows, how many pictures will be of one ground?
#
# <details><summary>Answer</summary>
#
# Three, by luck alone: enough for a story ("this one is for bricks"). Chance in eight rows of six pictures is easily
# underestimated.
#
# </details>


# %%
class Noise(torch.nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(32, 3, 7, 7, generator=generator)
        self.out = torch.nn.ReLU()

    def forward(self, images):
        sums = torch.nn.functional.conv2d(images, self.weight.to(images), stride=4)
        return self.out((100 * sums).sin()).mean((2, 3))


def commonest(concepts):
    """Of each concept: how many of its examples show the commonest ground."""
    names = [[one.id.partition("_")[2] for one in some] for some in concepts.examples]
    return [max(some.count(shape) for shape in shapes) for some in names]


# %%
seen = model.preprocessing
same = {"size": 48, "resize": 48, "mean": seen.mean, "std": seen.std}
noisy = tp.wrap(Noise(), name="noise", **same)
noise = tp.concepts(noisy, data, "out", method="kmeans", importance="none", **about)
print(f"{noise.verdict}: R2 {noise.r2:.2f}, shuffled {noise.shuffled[0]:.2f}")
drawn = torch.randint(6, (500, 8, 6), generator=torch.Generator().manual_seed(0))
luck = torch.nn.functional.one_hot(drawn, 6).sum(2).amax((1, 2)).float().mean()
print(f"of six, of one ground: {commonest(noise)}; best of eight by lot {luck:.1f}")
here.see(float(luck) > 2.8, "by lot the best of eight concepts has three alike")
here.see(noise.verdict == "no better than random directions", "the verdict sees it")
tp.show(noise)

# %% [markdown]
# ## Convincing, and nothing learned
#
# Noise was the easy case. Take our architecture with *random weights*. It has learned nothing, but it looks at the pictures.
#
# **Predict.** Will its concepts be as mixed as those of noise? And the verdict?
#
# <details><summary>Answer</summary>
#
# Nearly every concept shows the same ground six times, and the verdict is "better than random directions". It is right:
# in this layer channels go together, because pictures of grass are alike, whoever looks. The verdict speaks of a layer's
# activations, not of learning. What a network has learned, you see beside the same network with random weights.
#
# </details>

# %%
untrained = tp.wrap(
    tp.load("simple_cnn", weights=None).module, name="random weights", **same
)
blank = tp.concepts(untrained, data, layer, method="kmeans", importance="none", **about)
print(blank.verdict)
print(f"of six, of one ground: {commonest(blank)}, trained {commonest(found)}")
print(f"R2: {blank.r2:.2f}, trained {found.r2:.2f}")
pure = sum(one >= 5 for one in commonest(blank))
here.see(pure >= 4, "half of the concepts or more show one ground")
here.see(blank.verdict == "better than random directions", "better, without training")
here.see(found.r2 > blank.r2 + 0.1, "the trained layer is made of less")
tp.show(blank)

# %% [markdown]
# So pictures that look alike prove nothing about a network. Three comparisons, three questions: is it more than noise
# (shuffled, frozen), more than the pictures (random weights), and does the network *use* it? The last one comes next.
#
# ## A concept is a unit
#
# A concept is a direction of a layer ([tp.Concept](api:Concept)), and takes the place of a unit everywhere: real pictures
# that drive it ([lesson 16](lesson:16)), a picture made for it ([lesson 14](lesson:14)), maps, attributions.

# %%
grass = int(back.partner[0])
top = tp.top_examples(model, data, found[grass], k=6, score="mean", workers=1)
tp.show(top)

# %%
steps = here.quick(96, full=256)
made = tp.visualize(model, found[grass], size=48, n_steps=steps)
best = top[0].examples[0].score
print(f"{found[grass]}: {float(made.scores[0]):.1f} of the made picture, "
      f"{best:.1f} of the best real one")  # fmt: skip
here.see(
    float(made.scores[0]) > 0.8 * best, "what is made drives it as real grass does"
)
tp.show(made)

# %% [markdown]
# How much does it matter? One guess is the *gradient*: at each place the concept's code times the slope of the answer's logit
# along the direction (so is `found.importance`, from 32 pictures). The judge is *ablation*: take the concept away and run the
# rest again. We do both by hand.
#
# **Predict.** Without the concept of grass, which class loses most?
#
# <details><summary>Answer</summary>
#
# "Disc". No disc was touched: the discs stood on grass.
#
# </details>

# %%
images = model.preprocess(test.pixels)
codes = found.heatmaps(model, images).float()
directions = found.directions.float()


def logits(change):
    with tp.edit(model, {layer: lambda maps: maps + change}):
        return model(images)


change = torch.zeros_like(activations(model, test), requires_grad=True)
clean = logits(change)
answer = clean.argmax(1, keepdim=True)
(slope,) = torch.autograd.grad(clean.gather(1, answer).sum(), change)
guesses = codes * torch.einsum("nchw,kc->nkhw", slope, directions)
guess = guesses.sum((2, 3)).mean(0)

# %%
falls = []
for j, direction in enumerate(directions):
    with torch.no_grad():
        without = logits(-codes[:, [j]] * direction[:, None, None])
    falls.append((clean - without).gather(1, answer)[:, 0].detach())
judged = torch.stack([fall.mean() for fall in falls])
for j in range(8):
    print(f"concept {j}: gradient {guess[j]:+.2f}, ablation {judged[j]:+.2f}")
lost = torch.stack([falls[grass][test.targets == i].mean() for i in kinds])
loser = shapes[int(lost.argmax())]
print(f"without {found[grass]}, '{loser}' loses most, {float(lost.max()):.2f}")
agreed = float(torch.corrcoef(torch.stack([guess, judged]))[0, 1])
print(f"correlation of gradient and ablation: {agreed:.2f}")
here.see(loser == "disc", "without grass, the discs lose most")
here.see(agreed > 0.6, "gradient and ablation agree here")

# %% [markdown]
# They agree because hardly anything comes behind this layer: a maximum, a mean, a linear layer. The more there is, the less
# can a slope foresee; then believe the ablation (`importance="ablation"`).
#
# ## Does an answer depend on it?
#
# Often you have a concept in mind already. Then show it: pictures with it, and pictures like them without.
# [tp.tcav](api:tcav) takes the direction from one set's mean to the other's, and asks whether the score of a class rises along
# it. The *TCAV score* is the share of pictures where it does.
#
# We show grass without any disc, and as a control *nothing*: pictures drawn just like the random ones.
#
# **Predict.** For *nothing*, what TCAV score do you expect: a half?
#
# <details><summary>Answer</summary>
#
# It is 0 or 1, as for every direction at this layer! The slope behind it is the same for all pictures, so all agree. A score
# of 1 for a concept says nothing then. What tells is the comparison: the labels "shows it", "does not" are shuffled 20,000
# times, and p is the share of shuffles with as large an effect.
#
# </details>


# %%
def empty(*which, seed):
    some = tp.planted("shapes", 20, 48, backgrounds=which, seed=seed)
    return some.without_objects()


others = ("sand", "wood", "pebbles")
concepts = {"grass": empty("grass", seed=2), "nothing": empty(*others, seed=3)}
asked = data.take(data.targets == 0).take(range(30))
tested = tp.tcav(
    model, concepts, empty(*others, seed=4), "disc", "features.2", images=asked
)
print(tested)
here.holds(set(tested.score.tolist()) <= {0.0, 1.0}, "the scores alone are all or none")
here.see(tested.outcomes[0] == "raises", "grass raises 'disc'")
here.see(tested.outcomes[1] in ("none", "unknown"), "nothing does nothing")
here.see(float(tested.p[0]) < 0.01 < float(tested.p[1]), "and p tells them apart")
tp.show(tested)

# %% [markdown]
# *Unknown to this layer* is a verdict of its own: pictures that were left out could not be told from the random ones, so there
# is no such concept in this layer on which anything could depend.
#
# ## A name is a claim, too
#
# [tp.name_units](api:name_units) names units by what their pictures have in common: labels of the data set, or groups of them.
# A third of the pictures chooses the name, the others judge it: AUC is the share of pairs in which the picture with that name
# has the higher score ([lesson 16](lesson:16)), p says how often luck would do it, over all units together.
#
# **Predict.** Our pictures are labelled disc, square, and so on; "round" is a group of two. How many of 64 units get a name?
#
# <details><summary>Answer</summary>
#
# Nearly all, most with an AUC of 1.00 and p-values far below one in a million. With labels dealt out by lot no unit has one.
# So they are proven?
#
# </details>

# %%
groups = {"round": ["disc", "ring"]}
names = tp.name_units(model, data, layer, groups=groups, workers=1)
print(names.said())
reached = float(names.shuffled.nan_to_num().max())
here.see(names.share > 0.5, "more than half of the units have a name")
here.see(reached < 0.75, "with labels by lot none would have one")
tp.show(names)

# %% [markdown]
# The claim is about *these* pictures, and in them a disc is always on grass. Ask again with grounds by lot.
#
# **Predict.** How many of the names are left?
#
# <details><summary>Answer</summary>
#
# None or hardly any. What was called "disc" tells discs from the rest hardly better than a coin, and grass nearly without
# fault. The p-value was right: no luck made the first name. It did not say that the unit is for discs rather than for what
# goes with them.
#
# </details>

# %%
by_lot = tp.planted("shapes", n, rate=1 / 6, seed=3, **how)
again = tp.name_units(model, by_lot, layer, groups=groups, workers=1)
print(f"names: {len(names.named)} before, {len(again.named)} with grounds by lot")
here.see(again.share < 0.2, "with grounds by lot hardly a name is left")
scores = activations(model, by_lot).amax((2, 3))


def separates(scores, member):
    """The share of pairs in which the member has the higher score."""
    inside, outside = scores[member][:, None], scores[~member][None]
    return float((1.0 * (inside > outside) + 0.5 * (inside == outside)).mean())


called = {one: names.names[one] for one in names.named if names.names[one] in shapes}
unit, name = next(iter(called.items()))
tp.show(tp.top_examples(model, by_lot, f"{layer}:{unit}", k=8, score="max", workers=1))

# %%
kind = shapes.index(name)
ground = torch.tensor([one.background == grounds[kind] for one in by_lot.recipes])
as_named = separates(scores[:, unit], by_lot.targets == kind)
as_ground = separates(scores[:, unit], ground)
print(f"{layer}:{unit}, called '{name}': AUC {as_named:.2f} for it, "
      f"{as_ground:.2f} for {grounds[kind]}")  # fmt: skip
here.see(as_ground > 0.85, "the unit is for the ground")
here.see(as_named < 0.75, "and what it was called has no name's AUC any more")

# %% [markdown]
# ## A network and a folder of your own
#
# With a model and a folder of class folders the same call looks into them. Read the first line first: it is the verdict.

# %%
mine = found
if here.own_data is not None:
    own_model = here.model()
    picture = own_model.preprocess(here.picture("cat"))
    last = tp.activation_maps(own_model, picture)[-1].layer
    mine = tp.concepts(own_model, here.data(data), last, method="kmeans", **about)
print(str(mine).splitlines()[0])
tp.show(mine)

# %% [markdown]
# ## Misconceptions
#
# * *"This channel is the network's grass detector."* It answers to grass, and perhaps to sand. And grass is in many channels.
# * *"The six examples all show the same, so the network has learned it."* Random weights give such rows as well.
# * *"R² is .79, so the concepts are real."* Ask what the same method reaches on shuffled channels.
# * *"The TCAV score is 1.0."* Where the slope is the same for all pictures, half of all random directions have a score of 1.
# * *"p is tiny, so the name is right."* Small p excludes luck. It does not exclude what goes with the name.
# * *"No better than random, so there are no concepts."* There are none that *this* method finds with *this* many pictures.
#
# ## Formulas
#
# With $x$ the activation at a place, $D$ the rows of concepts and $z$ its code, over the places of pictures kept apart:
#
# $$x \approx b + zD, \qquad R^2 = 1 - \frac{\sum |x - b - zD|^2}{\sum |x - \bar x|^2}$$
#
# A dictionary is *better than random directions* if the interval of its $R^2$ lies above those of frozen directions and of
# shuffled channels, and that of its agreement above that of random ones.
#
# The importance of concept $j$ with direction $d_j$ for a score $S$ of the activation $a$, over the places $p$:
#
# $$\text{gradient: } \sum_p z_j(p) \frac{\partial S}{\partial a(p)} \cdot d_j \qquad
#   \text{ablation: } S(a) - S(a - z_j d_j)$$
#
# TCAV, with $\bar a$ the mean over places, and its p-value over $N$ shuffles $s$ of the labels:
#
# $$v = \operatorname{mean}_{\text{concept}} \bar a - \operatorname{mean}_{\text{random}} \bar a, \qquad
#   e = \operatorname{mean}_x \sum_p \frac{\partial S(x)}{\partial a(p)} \cdot v, \qquad
#   p = \frac{1 + |\{s : |e_s| \ge |e|\}|}{1 + N}$$
#
# ## On your own picture
#
#     tapetum lesson 22 --model resnet50 --data photos/
#     tapetum concepts photos --model resnet50 --layer layer3 --method nmf --out concepts
#     tapetum tcav striped --random textures --images zebras --target zebra --model resnet50 --out tcav
#     tapetum name photos --model resnet50 --layer layer4
#
# How to read each: [concepts](howto:concepts), [tests](howto:concept_tests), [names](howto:names).
#
# ## References
#
# * [Kim et al. 2018](bib:kim2018tcav): TCAV.
# * [Fel et al. 2023](bib:fel2023holistic): dictionaries and importances in one frame; [CRAFT](bib:fel2023craft).
# * [Bau et al. 2017](bib:bau2017netdissect) and [Bykov et al. 2023](bib:bykov2023invert): names for units.
