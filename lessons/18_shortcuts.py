# %% [markdown]
# # 18 · Shortcuts: find them, prove them, repair them
#
# **Trust**: a network is right; is it right for the right reason, and what if not? · about 25 minutes · needs
# [lesson 12](lesson:12)
#
# You will
#
# * find a shortcut without being told where to look, or that there is one
# * prove it by hand: an effect, and a p-value from shuffled classes
# * see the same audit find nothing in the same network, and know why
# * repair the network in two ways, and measure what each did
# * audit a model and a folder of your own

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(18)

# %% [markdown]
# ## A network with a good score
#
# [Lesson 12](lesson:12) knew what it was looking for. Now somebody hands us a network and a test set. It tells boats, cars and
# houses apart, and nearly all of its answers are right.
#
# (We know more, since we drew the pictures: in 95 of 100 a boat is on water, a car on grass, a house on sand. Forget it for a
# moment.)

# %%
things = {"kind": "objects", "size": 48, "classes": ("boat", "car", "house")}
grounds = {"shortcut": "background", "backgrounds": ("water", "grass", "sand")}
how = {
    "epochs": here.quick(10, full=12),
    "batch": 16,
    "learning_rate": 4e-3,
    "schedule": "cosine",
}
n = here.quick(400, full=1000)
biased = tp.planted(n=n, rate=0.95, **things, **grounds)
network = tp.train(biased, validation=0.1, **how).model
test = tp.planted(n=300, rate=0.95, seed=1, **things, **grounds)


def right(model, pictures):
    return tp.check_predictions(model, pictures, of="all").accuracy


score = right(network, test)
print(f"{score:.0%} of the test pictures are answered rightly")
here.see(score > 0.9, "the score is good")
tp.show(test)

# %% [markdown]
# ## Find
#
# [tp.audit](api:audit) asks a fixed list of questions, about every class. Each picture takes something of another picture that
# was drawn without a look at classes: its background, its corners, its frame, the hue or the surface of its object, its colour
# cast, its sharpness. If the answers go to the class that the cue came from, the network follows it.
#
# **Predict.** Of the seven cues, which will be found? Only one was planted.
#
# <details><summary>Answer</summary>
#
# The background, for all three classes. The colour cast often comes with it: water is blue, so to give a car the cast of a
# boat's picture is to give it some of the water. Two names, one cue. An audit finds what the answers follow; what it *is*, you
# have to see in the pictures.
#
# </details>

# %%
about = {"n": here.quick(120, full=300)}
found = tp.audit(network, test, **about)
print(found)
grounds_found = {one.label for one in found.suspicions if one.kind == "background"}
here.see(len(grounds_found) == 3, "the background is found, for every class")
here.see(
    found.suspicions[0].kind == "background", "nothing has a larger effect than it"
)
tp.show(found)

# %% [markdown]
# A finding is an experiment, and its pictures are kept. Above: pictures as they are; below: the same with the cue moved, and
# what that did to the probability.

# %%
strongest = found.suspicions[0]
print(strongest)
tp.show(strongest)

# %% [markdown]
# ## Prove
#
# Let us do one experiment with our own hands. Here we have exact masks, so the object can be put on another ground without a
# seam. The *effect* of a class's ground is the mean change of the class's probability on pictures of other classes, where the
# ground is from the class, minus the same where it is from another.
#
# Could it be luck? Suppose the ground tells the network nothing. Then it does not matter which class a ground came from, and
# the classes of the givers can be shuffled. The *p-value* is the share of shuffles with an effect as large.
#
# **Predict.** In how many of 500 shuffles will the effect be as large as the one we see?
#
# <details><summary>Answer</summary>
#
# In none. The p-value is then not 0, but at most 1 in 501: from 500 shuffles no smaller one can be had. The audit makes 2000,
# and compares with the largest effect among *all* cues and classes in each shuffle, because it looked at all of them.
#
# </details>

# %%
some, generator = test.take(range(120)), torch.Generator().manual_seed(0)
to = torch.randperm(120, generator=generator)
given = to.roll(1)  # every picture takes a ground, and gives its own
plates = some.without_objects().pixels
moved = torch.where(some.masks[to][:, None], some.pixels[to], plates[given])
k = test.classes.index(strongest.label)


def chances(pixels):
    with torch.no_grad():
        return network(network.preprocess(pixels)).softmax(1)[:, k]


change = chances(moved) - chances(some.pixels[to])
others = some.targets[to] != k


def effect(classes):
    own = classes[given] == k
    return float(change[others & own].mean() - change[others & ~own].mean())


# %%
seen = effect(some.targets)
luck = [
    effect(some.targets[torch.randperm(120, generator=generator)]) for _ in range(500)
]
p_value = (1 + sum(one >= seen for one in luck)) / 501
print(f"effect {seen:.2f}, largest of 500 shuffles {max(luck):.2f}, p = {p_value:.3f}")
here.see(seen > 0.15, "by hand, the ground moves the answers as well")
here.see(p_value < 0.02, "luck hardly does as much")
tp.show(tp.check_predictions(network, test.with_cues("conflicting"), of="all", n=8))

# %% [markdown]
# ## What an audit cannot see
#
# An audit asks whether the answers follow what goes with a class *in the pictures that it is given*. Let us give it other
# pictures: the same objects, and grounds by lot.
#
# **Predict.** The same network, which cheats. What is the effect of the background now?
#
# <details><summary>Answer</summary>
#
# Near nothing, and it may not be found at all: the network still follows the ground, but the ground no longer speaks for a
# class, so a boat's ground is no more watery than a car's. Audit with pictures *as they were collected for training*. And on
# pictures by lot no audit is needed: there the score itself falls.
#
# </details>

# %%
lot = tp.planted(n=300, rate=1 / 3, seed=2, **things, **grounds)
unseen = tp.audit(network, lot, **about)
print(unseen)
before, after = (
    float(one.effects["background"].abs().max()) for one in (found, unseen)
)
print(f"largest effect of a ground: {before:.2f}, on pictures by lot {after:.2f}")
here.see(after < before / 2, "on pictures by lot the ground has less than half of it")
fallen = score - right(network, lot)
here.see(fallen > 0.1, f"but the score has fallen there, by {100 * fallen:.0f} points")
tp.show(unseen)

# %% [markdown]
# ## Repair
#
# The surest repair is to take the cue's meaning away: collect pictures in which object and ground disagree, and train again.
# Here: as many pictures as before, with grounds by lot.
#
# **Predict.** The repaired network is audited on the first test set, where ground and class go together. Will anything be
# left of the effect of the ground?
#
# <details><summary>Answer</summary>
#
# Most of it is gone, and on real pictures in which object and ground disagree hardly a mistake is left. But something may
# remain in the audit. A moved background is a picture as no network has seen one: there is a seam around the object, and the
# ground is patched. Where that makes a network unsure, a little is enough to tip it. And what was drowned by the ground may
# come up, such as the surface of the object, which speaks for its class by right. So look at the size of an effect and at its
# pictures, not at its p-value alone; and where you can, confirm with pictures that nobody edited.
#
# </details>

# %%
mixed = tp.planted(n=n, rate=1 / 3, **things, **grounds)
repaired = tp.train(mixed, validation=0.1, **how).model
again = tp.audit(repaired, test, **about)
print(again)
left = float(again.effects["background"].max())
print(f"largest effect of a ground: {before:.2f} before, {left:.2f} after the repair")
conflicting = test.with_cues("conflicting")
was, now = right(network, conflicting), right(repaired, conflicting)
print(f"where object and ground disagree: {was:.0%} right before, {now:.0%} after")
here.see(left < 0.7 * before, "the effect of the ground is smaller")
here.see(now > was + 0.3, "and where object and ground disagree, far more is right")
tp.show(again)

# %% [markdown]
# `reliance` sums it up: by how much does the probability of the right class fall when the object is another class's, and when
# the surroundings are?

# %%
for name, one in (("before", found), ("after", again)):
    thing, around = one.reliance.nanmean(0).tolist()
    print(f"{name:<7} object {thing:.2f}, surroundings {around:.2f}")
shift = (again.reliance - found.reliance).nanmean(0)
here.see(float(shift[0]) > float(shift[1]), "the answers have moved towards the object")
tp.show(again[0] if len(again) else again)

# %% [markdown]
# ## Repair without new pictures
#
# Often there are no other pictures, and no time to train again. [tp.suppress](api:suppress) changes a copy of the network by
# the smallest edit that takes the cue's pull away. It moves the cue between the pictures that you have, as the audit does, and
# says what the edit will cost before it is made. The edit is a small file, and can be taken back to the last bit
# ([how to](howto:repair)).
#
# **Predict.** The whole network is trained on pictures in which the ground decides. Can a change of its last layer alone make
# it tell objects apart?
#
# <details><summary>Answer</summary>
#
# Partly. The features in front of the last layer were learned for grounds, but they hold something of the objects, too: enough
# that the ground no longer decides, not enough for all objects. Training on other pictures does more.
#
# </details>

# %%
grounds_suspected = [one for one in found if one.kind == "background"]
repair = tp.suppress(network, grounds_suspected, source=test, n=about["n"])
print(repair)
edited = right(repair.model, conflicting)
print(
    f"where object and ground disagree: {was:.0%} right before, {edited:.0%} after {repair.patch.changed} weights were changed"
)
here.see(edited > was + 0.1, "more is right where object and ground disagree")
tp.show(repair)

# %% [markdown]
# ## A folder of your own
#
# With a model and a folder of class folders of your own, the same call audits them. As a program, with a page to send to
# somebody: `tapetum audit photos/ --model mine.py:build --out audit` ([how to read it](howto:shortcut)).

# %%
mine = found if here.own_data is None else tp.audit(here.model(), here.data(test))
print(mine.said)
for kind, least in mine.smallest.items():
    print(f"{kind:<11} an effect under {least:.2f} would not have been seen")
tp.show(mine)

# %% [markdown]
# ## Misconceptions
#
# * *"Nothing was found, so there is nothing."* Nothing of what was asked was found, down to the size that the audit states. It
#   moves seven cues. A ruler beside the object is none of them.
# * *"The p-value is small, so the effect is large."* With many pictures, tiny effects have small p-values. Read the effect and
#   the flips.
# * *"What was found is a fault."* A ship's sea is found too. Whether it may count is a question for you, not for statistics.
# * *"Two findings are two cues."* Background and colour cast are often one.
# * *"I audit on a balanced test set, to be fair."* There the cue goes with no class and cannot be found.
#
# ## Formulas
#
# Picture $i$ takes a cue from picture $g(i)$; $\Delta_i$ is the change of the probability of class $a$, and $y$ are the
# classes. The effect is
#
# $$e_a = \operatorname{mean}\{\Delta_i : y_i \ne a,\ y_{g(i)} = a\}
#       - \operatorname{mean}\{\Delta_i : y_i \ne a,\ y_{g(i)} \ne a\}$$
#
# With $t$ the effect divided by its standard error and $t^{(s)}$ the same after shuffle $s$ of the givers' classes, the
# p-value over all cues $c$ and classes $a$ is
#
# $$p = \frac{1 + |\{s : \max_{c, a} t^{(s)}_{c, a} \ge t\}|}{1 + S}$$
#
# ## On your own picture
#
#     tapetum lesson 18 --model mine.py:build --data photos/
#     tapetum audit photos/ --model mine.py:build --out audit
#
# `photos/` has one folder for each class, named as the model names it, with 50 pictures or more. Where masks of the objects
# exist, give them with `--masks`; `--twins 20` says how much of what could be there would have been found.
#
# ## References
#
# * [DeGrave et al. 2021](bib:degrave2021shortcuts): networks that tell hospitals apart in place of illnesses.
# * [Lapuschkin et al. 2019](bib:lapuschkin2019cleverhans): shortcuts in well-known data sets.
# * [Ribeiro et al. 2016](bib:ribeiro2016lime): the husky and the wolf.
