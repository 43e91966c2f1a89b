# %% [markdown]
# # 17 · Can you trust this map?
#
# **Trust**: does a map say more about a prediction than luck does? · about 20 minutes · needs [lesson 9](lesson:9)
#
# You will
#
# * see random maps, which know nothing, pass a test that sounds strict
# * build the test that they fail: many random maps, and a price for every further try
# * examine methods on a network whose truth is known, because it was built by hand
# * randomise the weights of a network, and find the method that does not notice
# * know what these tests leave open

# %%
import torch

import tapetum as tp
from tapetum.course import start

here = start(17)
known = tp.exam_networks(n=here.quick(6, full=20))[0]
print(f"{known.name}: {known.question}; {len(known.images)} pictures")

# %% [markdown]
# ## A network whose truth is known
#
# On a photograph nobody knows what a map *should* show. So we begin with a small network that was not trained: its weights
# were set by hand ([tp.exam_networks](api:exam_networks)). It says yes if a picture shows the pattern *a* **and** the
# pattern
# *b*. Every picture shows two more patterns, as strong as these, which do not count. The truth is two places of each
# picture.
#
# We ask a method for its maps, and keep the true maps to compare: they are known here, and nowhere else.

# %%
model, images = known.model, known.images
_, says, sure = tp.predict(model, images[:1])[0][0]
print(f"the first picture: {says}, {sure:.2f}")
maps = tp.integrated_gradients(model, images, known.target)
here.see(sure > 0.9, "both patterns are there: it says yes")
tp.show(maps[0], pixels=model.denormalize(images[:1]))

# %%
tp.show(known.perfect[0], pixels=model.denormalize(images[:1]))

# %% [markdown]
# ## A bar that luck can jump
#
# [Lesson 10](lesson:10) hid the picture in the order of a map (deletion) and showed it in that order (insertion). Insertion
# minus deletion is high for a good map. A bar that sounds strict: *be better than the mean of three random maps, and better
# than the edges of the picture.* Many papers ask for less.
#
# Let us give it maps that know nothing: 7 × 7 random numbers. And let us be human: we try seven of them, and keep the best.
#
# **Predict.** On how many of the pictures does the best of seven random maps pass?
#
# <details><summary>Answer</summary>
#
# On most, or on all. A random map has a faithfulness of zero *on average*, but single ones are far from it, and the best of
# seven is a lucky one. A bar made of three draws is as noisy as what it measures.
#
# </details>


# %%
def faithfulness(one: tp.Attribution) -> torch.Tensor:
    """Insertion - deletion, one number for each picture."""
    settings = {"n_steps": 14}
    shown = tp.insertion(model, images, one, **settings).value
    return (shown - tp.deletion(model, images, one, **settings).value).double()


random_maps = [
    tp.random_attribution(model, images, known.target, seed=seed) for seed in range(10)
]
luck = torch.stack([faithfulness(one) for one in random_maps])  # (10, pictures)
edges = faithfulness(tp.edge_attribution(model, images, known.target))
bar = torch.maximum(luck[7:].mean(0), edges)  # three draws that nobody tried
best_of_seven = luck[:7].amax(0)
passed = float((best_of_seven > bar).double().mean())
single = float((luck[:7] > bar).double().mean())
print(f"one random map passes on {single:.0%} of the pictures")
print(f"the best of seven on {passed:.0%}")
here.see(passed > 0.6, "with seven tries, luck passes the old bar most of the time")

# %%
winner = random_maps[int(luck[:7, 0].argmax())]
tp.show(winner[0], pixels=model.denormalize(images[:1]))

# %% [markdown]
# This map beat the bar. It points at nothing that counts.
#
# ## A bar with a null
#
# What went wrong? Two things. Three random maps do not say how far luck goes: ask many, and look where the map stands among
# them. And seven tries are seven chances: each further try has to cost something. [tp.judge](api:judge) does both. It draws
# a *null* of random maps until their places are clear, counts how many of them reach the map (the *p-value*), and corrects
# it for all maps that were tried ([Holm](bib:holm1979simple)). Then the map must still be above the edges and above a
# blob in the
# middle of the picture, by more than the error of the measurement.
#
# **Predict.** We give it the map of the method and the seven random maps together. How many random maps stand up? Does the
# map of the method, which now has to pay for seven worthless ones?
#
# <details><summary>Answer</summary>
#
# No random map does, or one by accident in twenty pictures. The map of the method does: it is better than all random maps
# that were drawn. The price is real, though: tried alone, it needed fewer of them.
#
# </details>

# %%
some = images[: here.quick(3, full=10)]
tried = [one[: len(some)] for one in (maps, *random_maps[:7])]
verdicts = tp.judge(model, some, tried)
lucky = verdicts.stands[:, 1:]
print(f"{int(lucky.sum())} of {lucky.numel()} random maps stand up")
print(f"the method's on {int(verdicts.stands[:, 0].sum())} of {len(some)} pictures")
here.see(
    float(lucky.any(1).double().mean()) <= 0.2, "luck hardly passes, with seven tries"
)
here.see(bool(verdicts.stands[:, 0].all()), "the map of the method stands up")
tp.show(verdicts)

# %%
lucky_one = verdicts.of(0, 1 + int(luck[:7, 0].argmax()))
print(lucky_one)
here.see(not lucky_one.stands, "the map that passed the old bar does not stand up")
tp.show(lucky_one)

# %% [markdown]
# ## An exam for methods
#
# Standing up means *better than luck*. It does not mean *right*: a map can be right about one of two places. Where the truth
# is known, we can ask for more. [tp.exam_methods](api:exam_methods) takes six networks built by hand: two patterns that are
# needed together, two that cancel, two of which one is enough, one that speaks against, one that counts at one place only,
# and one that counts in one colour.
#
# **Predict.** *Saturation* is "a or b: one is enough", and both are there. What does the gradient say about *a*?
#
# <details><summary>Answer</summary>
#
# Nothing: without *a* the answer is the same, since *b* is there, so a small change of *a* changes nothing. Saliency and
# Grad-CAM look at such small changes. Integrated gradients follow the way from an empty picture, on which *a* did count.
#
# </details>

# %%
methods = ["saliency", "grad_cam", "integrated_gradients", "occlusion", "deconvnet"]
exam = tp.exam_methods(methods, n=here.quick(3, full=10))
print(exam)
column = exam.networks.index("saturation")
marks = dict(zip(exam.methods, exam.passed[:, column].tolist(), strict=True))
here.holds(not marks["saliency"], "the gradient misses what is saturated")
here.holds(marks["integrated_gradients"], "the path from an empty picture finds it")
here.holds(
    not bool(exam.passed[methods.index("deconvnet")].all()),
    "no method is right by name",
)
tp.show(exam)

# %% [markdown]
# ## A sanity check on a real network
#
# Back to photographs, where no truth is known. One thing can still be asked: a map that explains what a network *learned*
# has to change when the network forgets. [tp.sanity_check](api:sanity_check) replaces its weights by random ones, from
# the last
# layer down, and compares the maps before and after ([Adebayo et al.](bib:adebayo2018sanity)).
#
# **Predict.** Three methods: Grad-CAM, guided backpropagation, and the edges of the picture, which never look at the
# network. Whose map hardly changes when the last layer is random?
#
# <details><summary>Answer</summary>
#
# The edges', of course, and that of guided backpropagation, nearly as much. It follows the strong lines of the picture down
# through the first layers, whatever the last layer says, and it is hardly another map for another class. It looks the
# best of the three, and
# knows the least about *this class*.
#
# </details>

# %%
network = here.model()
photograph = network.preprocess(here.picture("coffee"))
asked = ["grad_cam", "guided_backprop", "edge_attribution"]
sanity = tp.sanity_check(
    network, photograph, asked, seeds=here.quick(3, full=5), steps=2, n_images=1
)
print(sanity)
kept = dict(zip(asked, sanity.curve()[0][:, 0].tolist(), strict=True))
here.holds(kept["edge_attribution"] > 0.99, "edges do not know that there is a network")
here.see(
    kept["guided_backprop"] > kept["grad_cam"],
    "guided backpropagation notices less than Grad-CAM",
)
tp.show(sanity)

# %% [markdown]
# Before any map: is the network itself fit to be asked? [tp.doctor](api:doctor) looks for what spoils all maps at once, such
# as a wrong normalisation or a hidden gradient ([how to read it](howto:doctor)).

# %%
diagnosis = tp.doctor(network, photograph)
here.see(diagnosis.healthy, "the network is fit to be explained")
tp.show(diagnosis)

# %% [markdown]
# ## Misconceptions
#
# * *"It beats a random map."* One random map is a draw. Ask where it stands among many.
# * *"I tried seven methods and the best is significant."* The best of seven is picked by luck too. Correct for all you
#   tried.
# * *"It stands up, so it is right."* It is better than luck. It may show one of two reasons, or the right place for
#   another one.
# * *"It looks like the object, so the network used the object."* Edges look like the object, too.
# * *"The method passed the exam, so it is right on my network."* It can be right there. The exam says where it cannot be.
#
# ## Formulas
#
# With $f(m)$ the insertion minus the deletion of a map $m$, and $r_1, \dots, r_k$ random maps, the share of luck that
# reaches
# it, and Holm's correction of the $i$-th smallest of $t$ such shares:
#
# $$p = \frac{1 + |\{j : f(r_j) \ge f(m)\}|}{1 + k}, \qquad \tilde p_{(i)} = \max_{j \le i} \min(1, (t - j + 1)\, p_{(j)})$$
#
# A map stands up at the level $\alpha$ if $\tilde p \le \alpha$, and if it is above both the edges and the middle. The
# sanity check
# compares ranks, $\rho = \text{Spearman}(|m|, |m'|)$, of a map $m$ of the trained and $m'$ of the randomised network.
#
# ## On your own picture
#
#     tapetum lesson 17 --model resnet50 --image dog.jpg
#     tapetum doctor resnet50 dog.jpg
#     tapetum explain dog.jpg --model resnet50 --out report
#
# Judge a map of your own: `print(tp.judge(model, images, [tp.grad_cam(model, images), tp.saliency(model, images)]))`. It
# takes a minute
# or two, since it draws its null on *your* picture.
#
# While `tapetum studio` runs, [the verdicts on two maps](studio:trust?methods=grad_cam,saliency&pictures=coffee) open in it.
#
# ## References
#
# * [Petsiuk et al. 2018](bib:petsiuk2018rise): deletion and insertion.
# * [Holm 1979](bib:holm1979simple): the correction for several tries.
# * [Adebayo et al. 2018](bib:adebayo2018sanity): randomised weights.
