//! The summary that a run leaves behind when it has ended: `summary.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::claim::{Claim, ClaimedNetwork, Head, Statistic};
use crate::error::Error;

/// What a run was and what it reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// Name of the method, as in the recipe.
    pub method: String,
    /// Name of the data set.
    pub dataset: String,
    /// Name of the backbone.
    pub network: String,
    /// Where it ran.
    pub device: String,
    /// The commit of the program, where it is known.
    pub commit: Option<String>,
    /// The seed.
    pub seed: u64,
    /// Epochs that were run.
    pub epochs: usize,
    /// Steps that were run.
    pub steps: usize,
    /// Seconds of training and evaluation, those before a resumption included.
    pub seconds: f64,
    /// Training pictures.
    pub train_pictures: usize,
    /// Test pictures.
    pub test_pictures: usize,
    /// The network that was trained.
    pub student: NetworkSummary,
    /// Its moving average, where the method has one.
    pub teacher: Option<NetworkSummary>,
}

impl Summary {
    /// Reads `summary.json`.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read, [`Error::Summary`] if it is broken or cut short.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|reason| Error::File { path: path.to_owned(), reason })?;
        serde_json::from_str(&text)
            .map_err(|reason| Error::Summary { path: path.to_owned(), reason: reason.to_string() })
    }

    /// The text of `summary.json`, with a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a summary has only string keys");
        text.push('\n');
        text
    }

    /// The top-1 accuracy, in percent, that compares with a published figure.
    /// `None` where the run has no such network or head.
    #[must_use]
    pub fn claimed(&self, claim: &Claim) -> Option<f64> {
        let network = match claim.network {
            ClaimedNetwork::Student => &self.student,
            ClaimedNetwork::Teacher => self.teacher.as_ref()?,
        };
        Some(network.head(claim.head)?.top1.get(claim.statistic))
    }
}

/// Accuracy of one network. Where it has two heads, `top1` and `top5` are the one-hot head's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// Top-1 accuracy in percent.
    pub top1: Statistics,
    /// Top-5 accuracy in percent.
    pub top5: Statistics,
    /// The one-hot head's, where there are two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one: Option<Accuracy>,
    /// The mixup head's, where there are two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Accuracy>,
}

impl NetworkSummary {
    /// The summary of a network with one head.
    #[must_use]
    pub fn one_head(accuracy: Accuracy) -> Self {
        Self { top1: accuracy.top1, top5: accuracy.top5, one: None, mix: None }
    }

    /// The summary of a network with two heads.
    #[must_use]
    pub fn two_heads(one: Accuracy, mix: Accuracy) -> Self {
        Self { top1: one.top1, top5: one.top5, one: Some(one), mix: Some(mix) }
    }

    /// The accuracy of one head; the only head counts as the one-hot head.
    #[must_use]
    pub fn head(&self, head: Head) -> Option<Accuracy> {
        match head {
            Head::One => Some(self.one.unwrap_or(Accuracy { top1: self.top1, top5: self.top5 })),
            Head::Mix => self.mix,
        }
    }
}

/// Top-1 and top-5 accuracy of one head, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Top-1 accuracy in percent.
    pub top1: Statistics,
    /// Top-5 accuracy in percent.
    pub top5: Statistics,
}

/// What a series of one figure an epoch comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// The last epoch's.
    pub last: f64,
    /// The highest.
    pub best: f64,
    /// The median of the last ten epochs, or of all where there are fewer.
    pub median_last10: f64,
}

impl Statistics {
    /// The statistics of one figure an epoch, in order; `None` without any.
    ///
    /// ```
    /// # use adautomix_recipes::Statistics;
    /// let statistics = Statistics::of(&[50.0, 70.0, 60.0, 65.0]).unwrap();
    /// assert_eq!((statistics.last, statistics.best, statistics.median_last10), (65.0, 70.0, 62.5));
    /// ```
    #[must_use]
    pub fn of(epochs: &[f64]) -> Option<Self> {
        let last = *epochs.last()?;
        let best = epochs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut tail = epochs[epochs.len().saturating_sub(10)..].to_vec();
        tail.sort_by(f64::total_cmp);
        let median_last10 = f64::midpoint(tail[(tail.len() - 1) / 2], tail[tail.len() / 2]);
        Some(Self { last, best, median_last10 })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Last => self.last,
            Statistic::Best => self.best,
            Statistic::MedianLast10 => self.median_last10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(value: f64) -> Accuracy {
        let statistics = Statistics { last: value, best: value + 1.0, median_last10: value - 1.0 };
        Accuracy { top1: statistics, top5: statistics }
    }

    #[test]
    fn the_median_takes_the_last_ten_only() {
        let epochs: Vec<f64> = (0..25).map(f64::from).collect();
        assert_eq!(Statistics::of(&epochs), Some(Statistics { last: 24.0, best: 24.0, median_last10: 19.5 }));
        assert_eq!(Statistics::of(&[]), None);
    }

    #[test]
    fn a_second_head_stands_beside_the_first() {
        let two = NetworkSummary::two_heads(accuracy(80.0), accuracy(60.0));
        let json = serde_json::to_value(&two).unwrap();
        assert_eq!(json["top1"]["last"], 80.0);
        assert_eq!(json["one"]["top1"]["best"], 81.0);
        assert_eq!(json["mix"]["top5"]["median_last10"], 59.0);
        let one = serde_json::to_value(NetworkSummary::one_head(accuracy(70.0))).unwrap();
        assert_eq!(one.as_object().unwrap().len(), 2);
        assert_eq!(NetworkSummary::one_head(accuracy(70.0)).head(Head::One), Some(accuracy(70.0)));
        assert_eq!(NetworkSummary::one_head(accuracy(70.0)).head(Head::Mix), None);
    }

    #[test]
    fn a_summary_cut_short_is_refused_with_its_file() {
        let folder = std::env::temp_dir().join(format!("adautomix-summary-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("summary.json");
        std::fs::write(&path, "{\"recipe\": \"quick/").unwrap();
        let message = Summary::read(&path).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(message.contains("summary.json: not a whole summary"), "{message}");
    }
}
