//! Salient blocks are moved to where their picture is shown (PuzzleMix, Algorithm 1, masked transport).

/// A step on the grid, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    rows: isize,
    columns: isize,
    cost: f32,
}

/// All steps on a grid of `side` places a side, the cheapest first, and among those that cost the same in row-major order:
/// the squared distance over `(side - 1)²`, times `scale`.
pub fn steps(side: usize, scale: f64) -> Vec<Step> {
    let last = side as isize - 1;
    let longest = last.max(1).pow(2) as f32;
    let mut steps: Vec<Step> = (-last..=last)
        .flat_map(|rows| (-last..=last).map(move |columns| (rows, columns)))
        .map(|(rows, columns)| {
            let distance = (rows * rows + columns * columns) as f32;
            Step { rows, columns, cost: scale as f32 * (distance / longest) }
        })
        .collect();
    steps.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    steps
}

/// Where each of the `T²` blocks of a picture goes: `None` if nowhere. `shown` and `saliency` are `[T, T]`, the saliency sums
/// to 1; `steps` are those of a grid of T places a side.
///
/// Moving a block costs the step, less the block's saliency where the picture is shown. T times each block chooses its
/// cheapest place, and each place the block that costs least there; what the others chose costs them 1 more from then on. As
/// no saliency is above 1, and a place that is free of costs is left as it is, this comes to: a block tries the places where it
/// costs less than nothing, the nearest first and none twice.
pub fn plan(shown: &[f32], saliency: &[f32], steps: &[Step]) -> Vec<Option<usize>> {
    let n = shown.len();
    let side = n.isqrt();
    let mut tried = vec![0; n];
    let mut chosen: Vec<Option<(usize, f32)>> = vec![None; n];
    let mut won = vec![false; n];
    let mut best: Vec<Option<usize>> = vec![None; n];
    for _ in 0..side {
        best.fill(None);
        for block in 0..n {
            if !won[block] {
                chosen[block] = next_place(block, shown, saliency[block], steps, &mut tried[block]);
            }
            let Some((place, cost)) = chosen[block] else { continue };
            if best[place].and_then(|best| chosen[best]).is_none_or(|(_, least)| cost < least) {
                best[place] = Some(block);
            }
        }
        let wins = |block: usize| chosen[block].is_none_or(|(place, _)| best[place] == Some(block));
        won.iter_mut().enumerate().for_each(|(block, won)| *won = wins(block));
        if won.iter().all(|&won| won) {
            break;
        }
    }
    let place = |(choice, won): (Option<(usize, f32)>, bool)| choice.filter(|_| won).map(|(place, _)| place);
    chosen.into_iter().zip(won).map(place).collect()
}

/// The next place that a block tries, and what it costs there; none if it costs less than nothing nowhere.
fn next_place(
    block: usize,
    shown: &[f32],
    saliency: f32,
    steps: &[Step],
    tried: &mut usize,
) -> Option<(usize, f32)> {
    let side = shown.len().isqrt();
    while let Some(step) = steps.get(*tried).filter(|step| step.cost < saliency) {
        *tried += 1;
        let row = (block / side).checked_add_signed(step.rows).filter(|&row| row < side);
        let column = (block % side).checked_add_signed(step.columns).filter(|&column| column < side);
        if let (Some(row), Some(column)) = (row, column) {
            let place = row * side + column;
            if shown[place] > 0.0 {
                return Some((place, step.cost - saliency));
            }
        }
    }
    // All blocks compete for every place, those that didn't choose it with 0: only the first of them wins a tie.
    (block == 0 && (shown[0] == 0.0 || saliency == 0.0)).then_some((0, 0.0))
}

/// The block that each place shows, `[T²]`. Where nothing arrives there is nothing, unless the picture is shown there (a
/// block without any saliency): then the place keeps its own.
pub fn sources(destinations: &[Option<usize>], shown: &[f32]) -> Vec<Option<usize>> {
    let mut sources: Vec<Option<usize>> =
        shown.iter().enumerate().map(|(place, &shown)| (shown > 0.0).then_some(place)).collect();
    for (block, place) in destinations.iter().enumerate() {
        if let Some(place) = *place {
            sources[place] = Some(block);
        }
    }
    sources
}

/// Adds to a picture `[C, side, side]` the blocks of another, each place the one of its source, times the place's weight. Of
/// what isn't shown nothing is read, so that no NaN passes.
pub fn add(
    sum: &mut [f32],
    image: &[f32],
    sources: &[Option<usize>],
    side: usize,
    weight: impl Fn(usize) -> f32,
) {
    let places = sources.len().isqrt();
    let size = side / places;
    let corner = |place: usize| place / places * size * side + place % places * size;
    for (place, source) in sources.iter().enumerate() {
        let weight = weight(place);
        let Some(source) = source.filter(|_| weight > 0.0) else { continue };
        for channel in (0..image.len()).step_by(side * side) {
            for row in 0..size {
                let to = &mut sum[channel + corner(place) + row * side..][..size];
                let from = &image[channel + corner(source) + row * side..][..size];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += weight * from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Every round as it is written, over whole rows and columns.
    fn slow(shown: &[f32], saliency: &[f32], scale: f64) -> Vec<Option<usize>> {
        let n = shown.len();
        let side = n.isqrt();
        let longest = (side.max(2) - 1).pow(2) as f32;
        let first =
            |values: Vec<f32>| (0..n).fold(0, |best, i| if values[i] < values[best] { i } else { best });
        let squared = |i: usize, j: usize| {
            ((i / side).abs_diff(j / side).pow(2) + (i % side).abs_diff(j % side).pow(2)) as f32
        };
        let cost = |i: usize, j: usize| {
            scale as f32 * (squared(i, j) / longest) - if shown[j] > 0.0 { saliency[i] } else { 0.0 }
        };
        let mut costs: Vec<f32> = (0..n * n).map(|index| cost(index / n, index % n)).collect();
        let mut plan = vec![None; n];
        for _ in 0..side {
            let chosen: Vec<usize> = (0..n).map(|i| first(costs[i * n..][..n].to_vec())).collect();
            for (i, &j) in chosen.iter().enumerate() {
                let column = (0..n).map(|k| if chosen[k] == j { costs[k * n + j] } else { 0.0 }).collect();
                plan[i] = (first(column) == i).then_some(j);
            }
            for (i, &j) in chosen.iter().enumerate() {
                costs[i * n + j] += if plan[i].is_none() { 1.0 } else { 0.0 };
            }
        }
        plan
    }

    #[test]
    fn what_is_shown_is_what_full_rounds_give() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut moved = 0;
        for case in 0..200 {
            let side = 1 + case % 6;
            let n = side * side;
            let shown: Vec<f32> = (0..n).map(|_| [0.0, 0.5, 1.0][rng.random_range(0..3)]).collect();
            let saliency: Vec<f32> = (0..n).map(|_| f32::from(rng.random_range(0..9u8)) / 8.0).collect();
            // Far above what blocks are worth, of its order, and far below.
            let scale = [30.0, 2.0, 0.5, 0.01, 0.0][case / 6 % 5];
            let found = plan(&shown, &saliency, &steps(side, scale));
            let visible = |plan: Vec<Option<usize>>| -> Vec<Option<usize>> {
                plan.into_iter().map(|place| place.filter(|&place| shown[place] > 0.0)).collect()
            };
            moved +=
                found.iter().enumerate().filter(|(block, place)| place.is_some_and(|p| p != *block)).count();
            let sources = sources(&found, &shown);
            assert!(sources.iter().zip(&shown).all(|(source, &shown)| source.is_some() || shown == 0.0));
            assert_eq!(
                visible(found),
                visible(slow(&shown, &saliency, scale)),
                "{shown:?} {saliency:?} {scale}"
            );
        }
        assert!(moved > 300, "{moved}");
    }
}
