"""Max-CAM: at every place the evidence of the one channel that speaks most for the target.

A complete camport plugin. Grad-CAM and its relatives sum over channels, so that a place where many channels agree a
little outshines one where a single detector is sure. The maximum shows the sure ones:

    L_ij = max_k relu(G_kij) A_kij,    G = d y^c / d A

With a sum in place of the maximum this is Layer-CAM's map of one layer.
"""

import camport
from camport.core import over_layers


class MaxCAM(camport.Explainer):
    name, title, paper, family, needs_gradients = "maxcam", "Max-CAM", "-", "activation", True

    def saliency(self, probe):
        """max over channels of positive gradient times activation; several layers are fused by their maximum."""
        return over_layers(probe, lambda a, g: (g.relu() * a).amax(1).relu())


@camport.hookimpl
def camport_explainers():
    return [MaxCAM]
