"""A line on each method of the package, for who chooses one: by group, in the order of `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Nothing is trained": {
        "random": "a uniform random arch",
        "params": "the more parameters, the better: the control of all that knows the size of an arch",
        "flops": "the more multiply-adds, the better",
        "untrained": "`spos` with the random weights that it begins with",
        "synflow": "what flows through a network of absolute weights (Tanaka et al., NeurIPS 2020)",
        "synflow-bn": "synflow through batch norms that saw a batch of images; ours",
        "snip": "what the loss would feel of each weight's absence (Lee et al., ICLR 2019)",
        "grasp": "what each weight does for the flow of gradients (Wang et al., ICLR 2020)",
        "fisher": "what the loss would feel of each channel's absence (Turner et al., ICLR 2020)",
        "grad-norm": "how large the gradients of the weights are (Abdelfattah et al., ICLR 2021)",
        "jacob-cov": "how unlike the gradients of different images are (Mellor et al., 2020, first version)",
        "naswot": "how differently images switch the ReLUs (Mellor et al., ICML 2021)",
        "zen": "how far a small change of the input carries (Lin et al., ICCV 2021)",
        "zico": "large and steady gradients (Li et al., ICLR 2023)",
        "gradsign": "whether images pull a weight the same way (Zhang and Jia, ICLR 2022)",
        "swap": "how many patterns of ReLUs a batch of images makes (Peng et al., ICLR 2024)",
        "az-nas": "four proxies, ranks added up (Lee and Ham, CVPR 2024)",
        "te-nas": "conditioning and linear regions, ranks added up (Chen et al., ICLR 2021)",
        "four-proxies": "swap, synflow-bn, az-progressivity and jacob-cov, ranks added up; ours",
    },
    "Every arch is trained from scratch, in a benchmark table": {
        "random-search": "the best of random archs",
        "regularized-evolution": "a mutant of the best of a few replaces the oldest (Real et al., AAAI 2019)",
    },
    "One supernet over the whole space": {
        "rsps": "random paths, then the best of 100 random archs (Li and Talwalkar, UAI 2019)",
        "rsps-plain": "the same, as the code of NAS-Bench-201 draws archs",
        "darts-v1": "weights and a mixture of operators learn in turn (Liu et al., ICLR 2019), first order",
        "darts-v2": "the same, second order",
        "gdas": "one sampled operator on each edge, learned by gradient (Dong and Yang, CVPR 2019)",
        "gdas-code": "the same, with the gradient of its released code",
        "snas": "soft samples of operators; weights and logits on one loss (Xie et al., ICLR 2019)",
        "p-darts": "deeper networks and fewer operators, stage by stage (Chen et al., ICCV 2019)",
        "fair-darts": "a sigmoid for each operator, driven to 0 or 1 (Chu et al., ECCV 2020)",
        "pc-darts": "operators see a fourth of the channels (Xu et al., ICLR 2020)",
        "setn": "a mixture learns which archs to try (Dong and Yang, ICCV 2019)",
        "enas": "an LSTM controller draws archs, trained by REINFORCE (Pham et al., ICML 2018)",
        "fairnas": "each operator of an edge once in every step (Chu et al., ICCV 2021)",
        "fbnet": "soft samples of operators, and a loss that knows what they cost (Wu et al., CVPR 2019)",
        "proxylessnas": "binary gates: one path a step, two for the logits (Cai et al., ICLR 2019)",
        "proxylessnas-r": "the same, logits by REINFORCE",
        "greedynas": "trains on the paths that validate best of a few (You et al., CVPR 2020)",
        "spos": "uniform single paths, then inherited weights rank all archs (Guo et al., ECCV 2020)",
        "spos-evolution": "the same; evolution searches in place of a ranking",
        "spos+": "spos scored by log-likelihood and size, our schedule",
        "spos+synflow-bn": "a supernet's log-likelihood and synflow-bn, ranks added up; ours",
        "spos+synflow-bn-full": "the same; synflow-bn of the full-size network",
        "spos+synflow-bn+top25": "the same as spos+synflow-bn; its best 25 are then trained alone for a few epochs",
        "spos+four-proxies": "a supernet's log-likelihood and four proxies, ranks added up; ours",
        "spos+four-proxies+top25": "the same; its best 25 are then trained alone for a few epochs",
        "spos-loglik": "ablation of the hybrids: the supernet alone",
        "spos+params": "ablation of the hybrids: parameters in the proxy's place",
        "untrained+synflow-bn": "ablation of the hybrids: an untrained supernet in the supernet's place",
    },
    "No weights are shared": {
        "stand-alone": "each arch trained from scratch here, at the preset's size",
    },
    "The space shrinks": {
        "random-shrink": "drops random operators: the control",
        "si-shrink": "drops by SI, the mean performance of all archs that contain an operator (Hu et al., 2021)",
        "magnitude-shrink": "drops by the alphas of first-order DARTS on a second supernet",
        "angle-shrink": "drops by how far weights turned from their start (Hu et al., ECCV 2020)",
        "pcnas": "drops edge by edge, from shallow to deep (Li et al., CVPR 2020), without its pool",
        "pcnas-pool": "a pool of partial models grows layer by layer (Li et al., CVPR 2020)",
        "se-nas-shrink": "`se-nas` without merging and expanding",
    },
    "It shrinks and expands": {
        "se-nas": "drops by SI / SC, then merges and expands (Hu et al., Pattern Recognition 2021)",
        "se-nas-within-edge": "ablation of Eq. 7: `se-nas`, SI / SC within each edge",
        "fairnas+se-nas": "`se-nas` on fair paths, one operator dropped on each edge",
        "se-nas+": "`se-nas` with our estimator, criterion and schedule",
        "se-nas+synflow-bn": "`se-nas` with SI of `spos+synflow-bn`, within each edge; ours",
        "se-nas+four-proxies": "`se-nas` with SI of `spos+four-proxies`, within each edge; ours",
    },
}
ABOUT: Mapping[str, str] = {name: line for lines in GROUPS.values() for name, line in lines.items()}
YOURS = "Yours"
"""Where methods stand that are not of the package."""


def group_of(name: str) -> str:
    """The heading under which a method stands."""
    return next((group for group, lines in GROUPS.items() if name in lines), YOURS)
