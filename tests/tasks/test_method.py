"""What a method may be, and what is said of one that cannot run."""

import inspect
import re
from dataclasses import dataclass, field, make_dataclass

import numpy as np
import pytest

from senas_bench.experiments.settings import make_spec
from senas_bench.methods import GIVEN, METHODS, all_methods, method_named
from senas_bench.methods.se_nas import SeNas
from senas_bench.methods.spos import Spos
from senas_bench.ranking import ESTIMATORS
from senas_bench.ranking.estimator import Estimator
from senas_bench.shrinking import CRITERIA
from senas_bench.shrinking.si import SelectionImportance
from senas_bench.tasks.method import FAIR, LEARNED, UNIFORM, WITHIN, Method, check_method, fact
from senas_bench.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Counts(Method):
    """Ranks archs by the number of some operator; it trains nothing and has no recipe."""

    trains = False
    operator: int = 3

    def __call__(self, task):
        return None


def test_what_is_registered_is_sound():
    assert list(all_methods()) == list(METHODS)
    assert all(method_named(name) is method for name, method in {**METHODS, **GIVEN}.items())
    check_method("counts", Counts())


def test_facts_that_are_not_stated_are_those_of_a_supernet_that_ranks():
    method = Counts()
    assert (method.ranks, method.spaces, method.recipe, method.shrinks_by) == (True, None, None, None)
    assert not (method.needs_truth or method.tuned or method.knows_size or method.watched or method.only_ranked)


def test_facts_follow_from_the_fields_of_an_entry():
    hybrids = {"spos+synflow-bn", "spos+synflow-bn-full", "spos+synflow-bn+top25", "se-nas+synflow-bn"}
    hybrids |= {"spos+four-proxies", "spos+four-proxies+top25", "se-nas+four-proxies"}
    tuned, sized = {"spos+", "se-nas+", "spos-loglik", "spos+params", *hybrids}, {"spos+", "se-nas+", "spos+params"}
    assert {name for name, method in METHODS.items() if method.tuned} == tuned
    assert {name for name, method in METHODS.items() if method.knows_size} >= {"params", "flops", *sized}
    assert not hybrids & {name for name, method in METHODS.items() if method.knows_size}
    assert not METHODS["untrained"].trains and METHODS["spos"].trains
    assert [name for name, method in METHODS.items() if not method.ranks] == [
        "random-search", "regularized-evolution", "stand-alone",
    ]  # fmt: skip


def test_what_supernets_train_on():
    """Uniform paths, which can keep a limit, are those of the task; all other paths are named."""
    trained = {name: method for name, method in METHODS.items() if method.trains}
    uniform = {name for name, method in trained.items() if method.trains_on == UNIFORM}
    assert all("uniform_paths" in inspect.getsource(type(trained[name])) for name in uniform)
    others = {name: trained[name].trains_on for name in trained if name not in uniform}
    learned = {"darts-v1", "darts-v2", "gdas", "gdas-code", "snas", "p-darts", "fair-darts", "pc-darts", "enas"}
    learned |= {"fbnet", "proxylessnas", "proxylessnas-r"}
    assert {name for name, paths in others.items() if paths == LEARNED} == learned
    assert {name for name, paths in others.items() if paths == FAIR} == {"fairnas", "fairnas+se-nas"}
    assert {name for name, paths in others.items() if paths == WITHIN} == {"greedynas", "stand-alone"}
    both = {"magnitude-shrink"}  # its logits learn on a second supernet
    assert others["magnitude-shrink"] == f"{UNIFORM}, and a second supernet on {LEARNED}"
    own = {"fairnas", "fairnas+se-nas", "greedynas", "stand-alone", "rsps", "pcnas-pool"}
    assert others.keys() - learned == own | both
    deaf = learned | both | {"fairnas", "fairnas+se-nas", "rsps", "pcnas-pool"}
    assert {name for name, method in METHODS.items() if not method.trains_within} == deaf


class Thawed(Method):
    trains = False

    def __call__(self, task):
        return None


@dataclass
class Soft(Thawed):
    pass


@dataclass(frozen=True)
class Silent(Method):
    trains = False


@dataclass(frozen=True)
class Greedy(Method):
    trains = False

    def __call__(self, task, more):
        return None


@dataclass(frozen=True)
class Alone:
    def __call__(self, task):
        return None


@dataclass(frozen=True)
class Holds(Counts):
    what: object = field(default=0, hash=False)


@dataclass
class Part:
    x: int = 1


@dataclass(frozen=True)
class Trains(Method):
    def __call__(self, task):
        return None


@dataclass(frozen=True)
class Facts(Counts):
    recipe: object = None
    spaces: object = fact(None)


class Mumbling(Counts):
    trains_on = None


class Bringing(Counts):
    recipes = {"cpu": TrainingRecipe()}  # noqa: RUF012


class Misled(Counts):
    recipe = "own"
    recipes = {"cpu": (20,)}  # noqa: RUF012


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Counts, "Counts is a class; give an instance, Counts()"),
        (Alone(), "Alone is no Method; inherit senas_bench.tasks.method.Method"),
        (Thawed(), "Thawed is no frozen dataclass; write @dataclass(frozen=True) above it"),
        (Soft(), "Soft is no frozen dataclass"),
        (Silent(), "Silent cannot be called with a task; define __call__(self, task)"),
        (Greedy(), "Greedy cannot be called with a task"),
        (Holds(what=np.zeros(2)), "Holds.what is array([0., 0.]), which no spec can hold; use a number, text"),
        (Holds(what=[1]), "Holds.what is [1], which no spec can hold"),
        (Holds(what=((1,),)), "Holds.what is ((1,),), which no spec can hold"),
        (Holds(what=float("inf")), "Holds.what is inf, which no spec can hold"),
        (Holds(what=Part), "Holds.what is the class Part, which no spec can hold"),
        (Holds(what=Part()), "Part is no frozen dataclass"),
        (Holds(what=Holds(what=np.float32(1))), "Holds.what.what is"),
        (Trains(), 'Trains names no recipe; give it `recipe: str = "reference"`, or `trains = False` if it trains'),
        (Facts(recipe=3), "Facts.recipe is 3; give the name of a recipe"),
        (Facts(spaces="nasbench201"), "Facts.spaces is 'nasbench201'; give a tuple of names among: nasbench201"),
        (Facts(spaces=("nasbench101",)), "give a tuple of names among"),
        (Mumbling(), "Mumbling.trains_on is None; say on what in words, such as 'uniform paths'"),
        (Bringing(), "Bringing brings recipes, but `recipe` names none"),
        (Misled(), "Misled.recipes['cpu'] is (20,); give a TrainingRecipe"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(monkeypatch, method, message):
    monkeypatch.setitem(METHODS, "toy", method)
    with pytest.raises(ValueError) as caught:
        method_named("toy")
    assert str(caught.value).startswith("method 'toy': ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["fixed", "optimal", "all", "My method", "a/b", "a,b", "", "a" * 101])
def test_names_that_mean_something_else_or_cannot_name_a_file(monkeypatch, name):
    monkeypatch.setitem(METHODS, name, Counts())
    with pytest.raises(ValueError, match=r"choose another|a name (is made of small|has at most 100) letters"):
        method_named(name)


def test_a_name_of_100_letters_is_one(monkeypatch):
    monkeypatch.setitem(METHODS, "a" * 100, Counts())
    assert method_named("a" * 100) == Counts()


@dataclass(frozen=True)
class Scores(Estimator):
    def __call__(self, trained, archs, evaluation, cost, watcher=None):
        return np.zeros(len(archs)), {}


@dataclass(frozen=True)
class Dumb(Estimator):
    pass


@dataclass(frozen=True)
class Narrow(Estimator):
    def __call__(self, trained, archs):
        return np.zeros(len(archs)), {}


class Melted(Estimator):
    def __call__(self, trained, archs, evaluation, cost, watcher=None):
        return np.zeros(len(archs)), {}


@dataclass(frozen=True)
class Forgot(Scores):
    pass


class Undecorated(Scores):
    weight: float = 1.0


@dataclass(frozen=True)
class Judges:
    estimator: object = "weight-average"
    bounds: object = 0

    def __call__(self, trained, task):
        return None


@dataclass(frozen=True)
class Mute:
    pass


@dataclass
class Wet:
    def __call__(self, trained, task):
        return None


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("weight-avrage", "unknown estimator 'weight-avrage'; did you mean 'weight-average'?"),
        (Scores, "Scores is a class; give an instance, Scores()"),
        (Dumb(), "Dumb cannot be called with (trained, archs, evaluation, cost, watcher); define __call__"),
        (Narrow(), "Narrow cannot be called with (trained, archs, evaluation, cost, watcher)"),
        (Melted(), "Melted is no frozen dataclass; write @dataclass(frozen=True) above it"),
        (Undecorated(), "Undecorated is no frozen dataclass"),
        (SelectionImportance(), "is no estimator: write a frozen dataclass that inherits ranking.estimator.Estimator"),
        (3, "3 is no estimator"),
    ],
)
def test_estimators_of_a_method_and_of_its_criterion_are_checked(monkeypatch, estimator, message):
    """By their name too, where a class stands in the registry."""
    made = [Spos(estimator=estimator), SeNas(criterion=Judges(estimator)), SeNas(estimator=estimator)]
    if not isinstance(estimator, str):
        monkeypatch.setitem(ESTIMATORS, "toy", estimator)
        made.append(Spos(estimator="toy"))
    for method in made:
        monkeypatch.setitem(METHODS, "toy", method)
        with pytest.raises(ValueError) as caught:
            make_spec("toy", 0, "embedded")
        assert str(caught.value).startswith("method 'toy': ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (
            "se-nas",
            "SeNas.criterion: 'se-nas' is no criterion: give a frozen dataclass that is called with (trained",
        ),
        (Judges, "Judges is a class; give an instance, Judges()"),
        (Mute(), "Mute cannot be called with (trained, task); define __call__(self, trained, task) -> CriterionOutput"),
        (Wet(), "Wet is no frozen dataclass; write @dataclass(frozen=True) above it"),
        (Judges(bounds=[1, 2]), "Judges.bounds is [1, 2], which no spec can hold"),
        (Judges(bounds=Part), "Judges.bounds is the class Part, which no spec can hold; give an instance"),
        (Scores(), "Scores cannot be called with (trained, task)"),
    ],
)
def test_the_criterion_of_a_method_is_checked(monkeypatch, criterion, message):
    monkeypatch.setitem(METHODS, "toy", SeNas(criterion=criterion))
    with pytest.raises(ValueError) as caught:
        make_spec("toy", 0, "embedded")
    assert str(caught.value).startswith("method 'toy': ") and message in str(caught.value)


def test_what_is_sound_passes(monkeypatch):
    for method in (Spos(estimator=Forgot()), SeNas(criterion=Judges(Scores())), SeNas(criterion=Judges(None))):
        monkeypatch.setitem(METHODS, "toy", method)
        assert method_named("toy") is method


def test_two_classes_of_one_name_are_refused(monkeypatch):
    """Whatever else names the other one: a method, a registry, or the same method."""
    twin = make_dataclass("Scores", [], bases=(Scores,), frozen=True, namespace={"__module__": "theirs"})
    monkeypatch.setitem(METHODS, "toy", Spos(estimator=Scores()))
    assert method_named("toy")
    again = make_dataclass("Scores", [], bases=(Scores,), frozen=True, namespace={"__module__": Scores.__module__})
    monkeypatch.setitem(METHODS, "cell-run-twice", Spos(estimator=again()))
    assert method_named("toy")
    message = rf"method 'toy': {re.escape(Scores.__module__)}.Scores and theirs.Scores are two classes of one name"
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "other", SeNas(criterion=Judges(twin())))
        with pytest.raises(ValueError, match=message):
            method_named("toy")
        with pytest.raises(ValueError, match="method 'other'"):
            make_spec("other", 0, "embedded")
    for registry in (ESTIMATORS, CRITERIA):
        with monkeypatch.context() as patch:
            patch.setitem(registry, "twin", twin())
            with pytest.raises(ValueError, match=message):
                method_named("toy")
    monkeypatch.setitem(METHODS, "toy", SeNas(estimator=Scores(), criterion=Judges(twin())))
    with pytest.raises(ValueError, match=message):
        method_named("toy")
