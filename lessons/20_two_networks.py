# %% [markdown]
# # 20 · Two networks side by side
#
# **Trust**: the new version has the score of the old one; does it still look at the same things? · about 20 minutes · needs
# [lesson 12](lesson:12)
#
# You will
#
# * compare a network with a successor whose answers are all the same, and which looks elsewhere
# * see that networks which differ by their seed alone disagree, too: that is the bar
# * let the bar find the cheat, and let it leave an honest successor alone
# * compare layers by CKA, and see the usual estimator fail where pictures are few

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(20)

# %% [markdown]
# ## A family and two successors
#
# Somebody has a network that tells huskies from wolves, and trains a new one each month. [Lesson 12](lesson:12) drew such
# pictures: an animal on grass or on snow. The *old* network learned from pictures in which either animal stands on either
# ground. Its *siblings* learned from the same pictures and differ by the seed alone: other first weights, another order.
#
# Then come two successors. The *honest* one is one more sibling. The *cheat* learned from a new collection in which every
# wolf stands in snow and every husky on grass.
#
# All are tested on pictures such as come in now: wolves in snow, huskies on grass.

# %%
animals = {"kind": "objects", "size": 48, "classes": ("husky", "wolf")}
snow = {"shortcut": "background", "backgrounds": ("grass", "snow")}
n, seeds = here.quick(300, full=1000), here.quick(4, full=6)
fair = tp.planted(n=n, rate=0.5, **animals, **snow)
biased = tp.planted(n=n, rate=1.0, **animals, **snow)
now = tp.planted(n=here.quick(80, full=200), rate=1.0, seed=1, **animals, **snow)
tp.show(now)

# %%
how = {
    "epochs": here.quick(10, full=12),
    "batch": 16,
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "validation": 0.1,
}
old, *siblings = [tp.train(fair, seed=seed, **how).model for seed in range(seeds + 1)]
honest = tp.train(fair, seed=100, **how).model
cheat = tp.train(biased, seed=100, **how).model
old.name, honest.name, cheat.name = "old", "honest", "cheat"

# %%


def right(network, pictures):
    return tp.check_predictions(network, pictures, of="all").accuracy


scores = {
    name: right(one, now)
    for name, one in (("old", old), ("honest", honest), ("cheat", cheat))
}
print({name: f"{score:.0%}" for name, score in scores.items()})
here.see(
    max(scores.values()) - min(scores.values()) <= 0.05,
    "no score tells the three apart, to within 5 points",
)
tp.show(tp.check_predictions(cheat, now, of="all", n=8))

# %% [markdown]
# ## What changed?
#
# [tp.compare](api:compare) puts two networks side by side on the same pictures. It lists the predictions that changed, and
# for each picture how far the maps agree: both networks explain the class that the first one predicts, by Grad-CAM, and the
# ranks of both maps are correlated (1: the same order of places; 0: nothing in common).
#
# **Predict.** How many of the answers changed from the old network to the cheat? And how far do the maps agree?
#
# <details><summary>Answer</summary>
#
# Hardly an answer changed: the test pictures share the flaw of the cheat's training set. The maps agree much less than
# completely. How much less would be too much? The verdict says that it cannot know, and it is right.
#
# </details>

# %%
alone = tp.compare(old, cheat, now)
print(alone.verdict)
changed = len(alone.changed) / len(alone)
here.see(changed <= 0.05, f"{changed:.0%} of the answers changed")
here.holds(alone.below is None, "without a bar nothing is below it")
tp.show(alone)

# %% [markdown]
# ## The bar is not a guess
#
# It is tempting to say: .8 is enough. But two trainings of one recipe disagree as well, and how much depends on the recipe,
# on the size of the network and on the pictures. The siblings show it. Each of them has a mean agreement with all the
# others; these numbers have a mean and a spread, and say where one more sibling would lie. The bar is the value below which
# it would fall in one comparison of a hundred.
#
# **Predict.** The honest successor is one more sibling: how far does it agree with the old network, and does it pass?
#
# <details><summary>Answer</summary>
#
# It agrees as far as siblings do, which is clearly less than 1, and passes: its agreement lies among theirs. The cheat falls
# far below the bar. Had you taken .8 as a bar, or .9, you would have accused honest networks.
#
# </details>

# %%
fine = tp.compare(old, honest, now, null=siblings)
print(fine.verdict)
print(fine.null.words)
here.holds(fine.null.level == 0.01, "one false alarm in a hundred is allowed")
here.see(max(fine.null.values) < 0.99, "siblings do not agree completely, either")
here.see(fine.below is False, "the honest successor passes")
tp.show(fine)

# %%
caught = tp.compare(old, cheat, now, null=siblings)
print(caught.verdict)
here.see(caught.below is True, "the cheat looks elsewhere than another seed would")
here.see(
    caught.null.p_value < fine.null.p_value,
    "and much more surely so than the honest one",
)
tp.show(caught)

# %% [markdown]
# The middle chart has a dot for each sibling and a diamond for the successor; the broken line is the bar. In a build server
# the same is one line, which ends with status 1 if attention moved: `tapetum compare old/ new/ photos --null seed1/ --null
# seed2/ --null seed3/ --fail-if-agreement-below auto --junit compare.xml` ([how to](howto:compare)).
#
# ## Layers: where do they part?
#
# CKA says how alike two layers are, whatever the order of their units: it compares which pictures are near each other. In
# [tp.cka](api:cka) each row is a layer of the first network, each column one of the second.
#
# **Predict.** At which depth does the cheat differ most from the old network: early or late?
#
# <details><summary>Answer</summary>
#
# Late. Early layers find edges and colours, whatever the task; the last block keeps what decides, and here that is another
# thing. Siblings are alike in all layers.
#
# </details>

# %%
near, far = tp.cka(old, honest, now), tp.cka(old, cheat, now)
print(near, far, sep="\n\n")
last = float(near.values[-1, -1]) - float(far.values[-1, -1])
here.see(
    last > 0, "in the last block the honest successor is more like the old network"
)
own = tp.cka(old, old, now).values.diagonal()
here.holds(bool((own - 1).abs().max() < 1e-6), "each layer is wholly like itself")
tp.show(far)

# %% [markdown]
# ## Few pictures and a likeness out of nothing
#
# CKA has a trap. With few pictures and many units, the usual estimator finds likeness where there is none. So here are two
# layers of 100 units that know nothing: random numbers, for 100 pictures. The estimator without bias ([Song et al.
# 2012](bib:song2012feature)) leaves out how near each picture is to itself.

# %%
x, y = torch.randn(2, 100, 100, generator=torch.Generator().manual_seed(0)).double()
x, y = x - x.mean(0), y - y.mean(0)


def likeness(k, q):
    return float((k * q).sum() / ((k * k).sum() * (q * q).sum()).sqrt())


def without_bias(k):
    k = k - torch.diag(k.diagonal())
    n, rows = len(k), k.sum(1, keepdim=True) / (len(k) - 2)
    k = k - rows - rows.T + k.sum() / ((n - 1) * (n - 2))
    return k - torch.diag(k.diagonal())


usual, better = (
    likeness(x @ x.T, y @ y.T),
    likeness(without_bias(x @ x.T), without_bias(y @ y.T)),
)
here.holds(usual > 0.4, f"the usual estimator says {usual:.2f}: half alike")
here.holds(abs(better) < 0.1, f"the one without bias says {better:.2f}")
tp.show(tp.cka(old, cheat, now, n=here.quick(30, full=40)))

# %% [markdown]
# ## A picture that is none of theirs
#
# Both networks know two animals, and must call every picture one of them. Where does each look for it?

# %%
picture = here.picture("cat")
for name, network in (("old", old), ("cheat", cheat)):
    print(name, tp.predict(network, network.preprocess(picture), k=1)[0][0])
tp.show(
    tp.grad_cam(old, old.preprocess(picture)),
    pixels=old.denormalize(old.preprocess(picture)),
)

# %%
tp.show(
    tp.grad_cam(cheat, cheat.preprocess(picture)),
    pixels=cheat.denormalize(cheat.preprocess(picture)),
)

# %% [markdown]
# ## Misconceptions
#
# * *"The accuracy is the same, so nothing changed."* Accuracy counts answers on one set of pictures. Two networks can have the
#   same answers for different reasons, and part when the pictures change.
# * *"An agreement of .8 is good."* Compared with what? Here siblings set the bar; for another recipe it lies elsewhere.
# * *"Below the bar means that the new network is worse."* It means that it looks elsewhere than another seed would. It may have
#   been cured of a shortcut: look at the maps.
# * *"Above the bar means that nothing changed."* It means that these pictures show no more than another seed would. A cue
#   that is in none of the pictures moves few maps: compare on pictures such as come in now.
# * *"A high CKA proves that two networks work alike."* CKA follows the directions in which features vary most; a small one may
#   decide.
#
# ## Formulas
#
# The agreement of a picture, for maps $R$ and $S$ with the ranks $r$ and $s$ of their places:
#
# $$ \rho = \frac{\sum_p (r_p - \bar r)(s_p - \bar s)}{\sqrt{\sum_p (r_p - \bar r)^2 \sum_p (s_p - \bar s)^2}} $$
#
# The bar for one more of $k$ siblings whose mean agreements have the mean $m$ and the standard deviation $s$, with the error
# rate $\alpha$ and the quantile $t$ of Student's distribution with $k - 1$ degrees of freedom:
#
# $$ \mathrm{bar} = m - t_{k-1}(1 - \alpha)\, s \sqrt{1 + 1/k} $$
#
# The siblings' values share their pairs, which makes $s$ too small by $1 - 1/(k - 1)$: it is divided by that.
#
# CKA of features $X$ and $Y$ of $n$ pictures, $K = X X^T$ and $L = Y Y^T$ with zeros on their diagonals:
#
# $$ \mathrm{HSIC}(K, L) = \frac{1}{n (n - 3)} \left( \mathrm{tr} K L + \frac{1^T K 1 \; 1^T L 1}{(n - 1)(n - 2)}
# - \frac{2}{n - 2} 1^T K L 1 \right) $$
#
# $$ \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\, \mathrm{HSIC}(L, L)}} $$
#
# ## On your own picture
#
# `tapetum lesson 20 --image dog.jpg` shows both networks your picture in place of the cat. For two networks and a folder of
# your own: [Compare two checkpoints](howto:compare).
#
# ## References
#
# * [Kornblith et al. 2019](bib:kornblith2019similarity): CKA of the layers of networks, and of networks of other seeds.
# * [Song et al. 2012](bib:song2012feature): HSIC without bias.
# * [Selvaraju et al. 2017](bib:selvaraju2017gradcam): Grad-CAM.
