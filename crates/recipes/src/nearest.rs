//! Names that were perhaps meant.

/// The three names that take the fewest edits to become `name`.
pub(crate) fn nearest(name: &str, mut names: Vec<String>) -> Vec<String> {
    names.sort_by_cached_key(|known| edits(name, known));
    names.truncate(3);
    names
}

/// Levenshtein distance.
fn edits(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.chars().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_edits_come_first() {
        assert_eq!([edits("", "ab"), edits("cut", "cat"), edits("mixpu", "mixup")], [2, 1, 2]);
        let names = ["vanilla", "cutmix", "fmix", "mixup"].map(str::to_owned).to_vec();
        assert_eq!(nearest("mixp", names), ["mixup", "fmix", "cutmix"]);
    }
}
