//! What there is to know of the methods that have a training step of their own; of the mixers, their registry knows it.

use adautomix_mixing::registry::Facts;

/// The methods with a training step of their own, in the order of the paper's tables.
pub const OWN_STEPS: &[Facts] = &[
    Facts {
        name: "automix",
        title: "AutoMix",
        citation: "Liu et al., ECCV 2022, arXiv 2103.13027",
        draws: "λ of Beta(a, a) and a permutation, per batch, for generator and classifier each",
        cost: "two passes of the teacher, one of them with a graph, and the generator's masks",
    },
    Facts {
        name: "samix",
        title: "SAMix",
        citation: "Li et al., 2021, arXiv 2111.15454",
        draws: "as AutoMix",
        cost: "as AutoMix",
    },
    Facts {
        name: "adautomix",
        title: "AdAutoMix",
        citation: "Qin et al., ICLR 2024, arXiv 2312.11954",
        draws: "N ratios of Beta(a, a), divided by their sum, and N permutations, per batch; published: for generator and classifier each",
        cost: "two passes of the teacher, one of them with a graph, one more of the student for N > 2, and the generator's masks",
    },
    Facts {
        name: "me-ada",
        title: "ME-ADA",
        citation: "Zhao et al., NeurIPS 2020, arXiv 2010.08001",
        draws: "which appended pictures come with a batch",
        cost: "in a phase as many passes, forward and backward, as steps of ascent; after k phases a step sees k + 1 times as many pictures",
    },
    Facts {
        name: "dada",
        title: "DADA",
        citation: "Li et al., ECCV 2020, arXiv 2003.03780",
        draws: "a sub-policy, whether its operations are applied, direction and place: in the search once per batch, later per picture",
        cost: "three passes of half a batch while the policy is searched; the operations, on the host",
    },
    Facts {
        name: "spectral-mixup",
        title: "SAMix (spectral)",
        citation: "Zhang et al., MICCAI 2023, arXiv 2309.01207",
        draws: "partners, by a shift of the batch; a strength, a frequency and a direction for each picture",
        cost: "a pass for what a change of a frequency does, as many, forward and backward, as steps of ascent, and twice the batch",
    },
];
