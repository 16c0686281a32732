"""What an arch computes. One network class per space."""

from .nasbench201 import NB201Network

NETWORKS = {"nasbench201": NB201Network}
