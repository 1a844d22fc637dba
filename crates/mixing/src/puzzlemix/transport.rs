//! Salient blocks are moved to where their picture is shown (PuzzleMix, Eq. 6 and Algorithm 1).

/// The cost of moving each block to each place, `[T², T²]`: the squared distance on the grid over `(T - 1)²`, times `scale`.
pub fn distances(side: usize, scale: f64) -> Vec<f32> {
    let n = side * side;
    let longest = (side.max(2) - 1).pow(2) as f32;
    let entry = |index: usize| {
        let (from, to) = (index / n, index % n);
        let squared = (from / side).abs_diff(to / side).pow(2) + (from % side).abs_diff(to % side).pow(2);
        scale as f32 * (squared as f32 / longest)
    };
    (0..n * n).map(entry).collect()
}

/// Where each of the `T²` blocks of a picture goes: `None` if nowhere. `shown` and `saliency` are `[T, T]`; a block's saliency
/// counts wherever `shown` is above 0. `distances` are those of [`distances()`].
///
/// Each block takes its cheapest place, each place the block to which it is worth most, and the others pay 1 more for it; T
/// times. Blocks that have won keep what they chose, so only the others choose again.
pub fn plan(shown: &[f32], saliency: &[f32], distances: &[f32], costs: &mut Vec<f32>) -> Vec<Option<usize>> {
    let n = shown.len();
    costs.clear();
    for (row, saliency) in distances.chunks_exact(n).zip(saliency) {
        let gain = |&shown: &f32| if shown > 0.0 { *saliency } else { 0.0 };
        costs.extend(row.iter().zip(shown).map(|(distance, shown)| distance - gain(shown)));
    }
    let mut chosen: Vec<usize> = costs.chunks_exact(n).map(first_minimum).collect();
    let mut wins = Vec::new();
    for round in 0..n.isqrt() {
        if round > 0 {
            for (block, won) in wins.iter().enumerate() {
                if !won {
                    let row = &mut costs[block * n..][..n];
                    row[chosen[block]] += 1.0;
                    chosen[block] = first_minimum(row);
                }
            }
        }
        wins = winners(&chosen, costs);
        if wins.iter().all(|&won| won) {
            break;
        }
    }
    chosen.into_iter().zip(wins).map(|(place, won)| won.then_some(place)).collect()
}

/// Whether each block gets the place that it chose. All blocks compete for a place: those that chose another one with 0,
/// those that chose it with what it costs them, and the first of the smallest wins.
fn winners(chosen: &[usize], costs: &[f32]) -> Vec<bool> {
    let n = chosen.len();
    let cost = |block: usize| costs[block * n + chosen[block]];
    let mut best = vec![None; n];
    for (block, &place) in chosen.iter().enumerate() {
        if best[place].is_none_or(|best| cost(block) < cost(best)) {
            best[place] = Some(block);
        }
    }
    let wins = |(block, &place): (usize, &usize)| {
        let other = chosen.iter().position(|&chosen| chosen != place);
        let beaten = |other| cost(block) > 0.0 || (cost(block) == 0.0 && other < block);
        best[place] == Some(block) && !other.is_some_and(beaten)
    };
    chosen.iter().enumerate().map(wins).collect()
}

/// The index of the first of the smallest values. In two passes, of which the compiler makes vector instructions.
fn first_minimum(values: &[f32]) -> usize {
    const LANES: usize = 16;
    let mut least = [f32::INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::INFINITY, f32::min);
    for chunk in chunks {
        for (least, &value) in least.iter_mut().zip(chunk) {
            *least = if value < *least { value } else { *least };
        }
    }
    let least = least.into_iter().fold(rest, f32::min);
    values.iter().position(|&value| value == least).unwrap_or(0)
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

    /// Every round from scratch, over whole rows and columns.
    fn slow(shown: &[f32], saliency: &[f32], distances: &[f32]) -> Vec<Option<usize>> {
        let n = shown.len();
        let first =
            |values: Vec<f32>| (0..n).fold(0, |best, i| if values[i] < values[best] { i } else { best });
        let mut costs: Vec<f32> = (0..n * n)
            .map(|i| distances[i] - saliency[i / n] * f32::from(u8::from(shown[i % n] > 0.0)))
            .collect();
        let mut plan = vec![None; n];
        for _ in 0..n.isqrt() {
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
    fn blocks_that_lost_choose_again_as_if_all_did() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        for case in 0..60 {
            let side = 1 + case % 6;
            let n = side * side;
            let shown: Vec<f32> = (0..n).map(|_| [0.0, 0.5, 1.0][rng.random_range(0..3)]).collect();
            let saliency: Vec<f32> = (0..n).map(|_| f32::from(rng.random_range(0..5u8)) / 20.0).collect();
            // Far above what blocks are worth, of its order, and far below.
            let distances = distances(side, [2.0, 0.2, 0.01][case % 3]);
            let found = plan(&shown, &saliency, &distances, &mut Vec::new());
            assert_eq!(found, slow(&shown, &saliency, &distances), "{shown:?} {saliency:?}");
            let sources = sources(&found, &shown);
            assert!(sources.iter().zip(&shown).all(|(source, &shown)| source.is_some() || shown == 0.0));
        }
    }
}
