//! All measures of one network, head by head, as they are written to JSON.

use adautomix_datasets::corruptions::{Corruption, Kind, SEVERITIES};
use adautomix_recipes::Head as HeadName;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::{Cells, Ece, Evaluator, Pgd, Predictions, Progress, Reliability, Result, Space, default_patch};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Top-1 and top-5 accuracy.
    Top1,
    /// Expected calibration error and reliability.
    Ece,
    /// Accuracy after the fast gradient sign method.
    Fgsm,
    /// Accuracy after projected gradient ascent.
    Pgd,
    /// Accuracy with cells hidden.
    Occlusion,
    /// Accuracy under 19 corruptions in 5 severities.
    Corruption,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Top1, Self::Ece, Self::Fgsm, Self::Pgd, Self::Occlusion, Self::Corruption];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Ece => "ece",
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
            Self::Occlusion => "occlusion",
            Self::Corruption => "corruption",
        }
    }

    /// The metric with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

/// What to measure, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What to measure.
    pub metrics: Vec<Metric>,
    /// Bins of the reliability diagram.
    pub bins: usize,
    /// How projected gradient ascent goes; its ε is that of FGSM too.
    pub pgd: Pgd,
    /// Shares of cells that are hidden.
    pub ratios: Vec<f64>,
    /// The side of a cell in pixels; [`default_patch`] without one.
    pub patch: Option<usize>,
}

impl Default for Settings {
    /// The paper's: 10 bins, ε of 8/255, 0 to 100 % hidden in steps of 10 %.
    fn default() -> Self {
        let ratios = (0..=10).map(|tenth| f64::from(tenth) / 10.0).collect();
        Self { metrics: vec![Metric::Top1], bins: 10, pgd: Pgd::default(), ratios, patch: None }
    }
}

impl Settings {
    fn wants(&self, metric: Metric) -> bool {
        self.metrics.contains(&metric)
    }

    /// How often [`Evaluator::report`] goes over the pictures of a network with so many heads, for a bar of progress.
    pub fn passes(&self, heads: usize) -> usize {
        let passes = |metric| match metric {
            Metric::Top1 | Metric::Ece => 0,
            Metric::Fgsm | Metric::Pgd => heads,
            Metric::Occlusion => 2,
            Metric::Corruption => Kind::ALL.len() * SEVERITIES,
        };
        let clean = self.wants(Metric::Top1) || self.wants(Metric::Ece);
        let listed = Metric::ALL.into_iter().filter(|metric| self.wants(*metric));
        usize::from(clean) + listed.map(passes).sum::<usize>()
    }
}

/// What was measured of one head; what was not asked for is `None` and left out of JSON. Accuracies are in percent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeadReport {
    /// Top-1 accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Top-5 accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ece: Option<CalibrationReport>,
    /// FGSM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fgsm: Option<FgsmReport>,
    /// PGD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgd: Option<PgdReport>,
    /// Occlusion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occlusion: Option<OcclusionReport>,
    /// Corruption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruption: Option<CorruptionReport>,
}

/// Calibration of a head; errors are fractions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationReport {
    /// The expected calibration error as defined.
    pub standard: f64,
    /// The same as the published tool computes it.
    pub sorted: f64,
    /// The diagram.
    pub reliability: Reliability,
}

/// A head under an attack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AttackReport {
    /// Top-1 accuracy in percent.
    pub top1: f64,
    /// The rest to 100 %, which the paper's table has.
    pub error: f64,
}

/// A head under FGSM.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FgsmReport {
    /// The step, of pixels between 0 and 1.
    pub epsilon: f64,
    /// With step and range in pixels.
    pub pixel: AttackReport,
    /// With step and range in normalised numbers, as the published tool has it.
    pub published: AttackReport,
}

/// A head under PGD.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PgdReport {
    /// How far a pixel may move.
    pub epsilon: f64,
    /// How far it moves in a step.
    pub step: f64,
    /// How many steps there are.
    pub steps: usize,
    /// The result.
    #[serde(flatten)]
    pub attack: AttackReport,
}

/// A head with cells hidden: top-1 accuracies in percent, one for each ratio.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OcclusionReport {
    /// The side of a cell in pixels.
    pub patch: usize,
    /// Shares of cells that are hidden.
    pub ratios: Vec<f64>,
    /// With cells drawn for each picture.
    pub per_picture: Vec<f64>,
    /// With cells drawn for each batch, as the published tool does.
    pub published: Vec<f64>,
}

/// A head under corruption: top-1 accuracies in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorruptionReport {
    /// Over all kinds and severities together.
    pub top1: f64,
    /// By kind, for the severities from 1 to 5.
    #[serde(serialize_with = "by_name")]
    pub kinds: Vec<(Kind, [f64; SEVERITIES])>,
}

fn by_name<S: Serializer>(kinds: &[(Kind, [f64; SEVERITIES])], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(kinds.len()))?;
    for (kind, accuracies) in kinds {
        map.serialize_entry(kind.name(), accuracies)?;
    }
    map.end()
}

impl From<&Predictions> for AttackReport {
    fn from(predictions: &Predictions) -> Self {
        Self { top1: predictions.top1(), error: 100.0 - predictions.top1() }
    }
}

impl Evaluator<'_> {
    /// Measures what `settings` ask for, of each head.
    ///
    /// # Errors
    /// If a picture can't be read, a setting doesn't fit the pictures, or an operation fails.
    pub fn report(
        &self,
        settings: &Settings,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<(HeadName, HeadReport)>> {
        let mut reports: Vec<_> =
            self.heads().iter().map(|&(head, _)| (head, HeadReport::default())).collect();
        if settings.wants(Metric::Top1) || settings.wants(Metric::Ece) {
            for ((_, report), predictions) in reports.iter_mut().zip(self.clean(progress)?) {
                if settings.wants(Metric::Top1) {
                    (report.top1, report.top5) = (Some(predictions.top1()), Some(predictions.top5()));
                }
                report.ece = settings.wants(Metric::Ece).then(|| calibration(&predictions, settings.bins));
            }
        }
        for (&head, (_, report)) in self.heads().iter().zip(&mut reports) {
            if settings.wants(Metric::Fgsm) {
                let (epsilon, spaces) = (settings.pgd.epsilon, [self.pixels(), Space::ReleasedTool]);
                let attacked = self.fgsm(head, epsilon, &spaces, progress)?;
                let [pixel, published] = [0, 1].map(|space| AttackReport::from(&attacked[space]));
                report.fgsm = Some(FgsmReport { epsilon, pixel, published });
            }
            if settings.wants(Metric::Pgd) {
                let Pgd { epsilon, step, steps } = settings.pgd;
                let attack = AttackReport::from(&self.pgd(head, &settings.pgd, progress)?);
                report.pgd = Some(PgdReport { epsilon, step, steps, attack });
            }
        }
        if settings.wants(Metric::Occlusion) {
            self.report_occlusion(settings, &mut reports, progress)?;
        }
        if settings.wants(Metric::Corruption) {
            self.report_corruption(&mut reports, progress)?;
        }
        Ok(reports)
    }

    fn report_occlusion(
        &self,
        settings: &Settings,
        reports: &mut [(HeadName, HeadReport)],
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let patch = settings.patch.unwrap_or_else(|| default_patch(self.size()));
        let ratios = &settings.ratios;
        let per_picture = self.occluded(ratios, patch, Cells::PerPicture, progress)?;
        let per_batch = self.occluded(ratios, patch, Cells::PerBatch, progress)?;
        for (head, (_, report)) in reports.iter_mut().enumerate() {
            let top1 = |all: &[Vec<Predictions>]| all.iter().map(|heads| heads[head].top1()).collect();
            report.occlusion = Some(OcclusionReport {
                patch,
                ratios: ratios.clone(),
                per_picture: top1(&per_picture),
                published: top1(&per_batch),
            });
        }
        Ok(())
    }

    fn report_corruption(
        &self,
        reports: &mut [(HeadName, HeadReport)],
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let empty = CorruptionReport { top1: 0.0, kinds: Vec::new() };
        let mut made = vec![empty; reports.len()];
        for corruption in Corruption::all() {
            let (kind, level) = (corruption.kind(), corruption.severity() - 1);
            for (report, predictions) in made.iter_mut().zip(self.corrupted(corruption, progress)?) {
                if level == 0 {
                    report.kinds.push((kind, [0.0; SEVERITIES]));
                }
                if let Some((_, accuracies)) = report.kinds.last_mut() {
                    accuracies[level] = predictions.top1();
                }
            }
        }
        for ((_, report), mut made) in reports.iter_mut().zip(made) {
            // Each has the same pictures, so the mean is the accuracy over all.
            let all: Vec<f64> = made.kinds.iter().flat_map(|(_, accuracies)| *accuracies).collect();
            made.top1 = all.iter().sum::<f64>() / all.len() as f64;
            report.corruption = Some(made);
        }
        Ok(())
    }
}

fn calibration(predictions: &Predictions, bins: usize) -> CalibrationReport {
    let reliability = Reliability::new(predictions, bins);
    CalibrationReport {
        standard: reliability.ece(Ece::Standard),
        sorted: reliability.ece(Ece::Sorted),
        reliability,
    }
}
