//! How a series looks: a colour and a marker by name, so that a method is drawn alike in the whole report.

use std::f64::consts::TAU;

/// Methods by the number of their look. Twelve markers come before the first is used again.
const KNOWN: [&str; 12] = [
    "adautomix",
    "automix",
    "vanilla",
    "mixup",
    "cutmix",
    "puzzlemix",
    "resizemix",
    "fmix",
    "saliencymix",
    "manifoldmix",
    "samix",
    "gridmix",
];

/// Colours in `chart.css`: those of Okabe and Ito without yellow, which is too pale for a line.
const COLOURS: usize = 7;

/// A colour and a marker. The marker alone tells up to twelve series apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look(usize);

/// The looks of series of ours and of published ones, by their names. Known methods have their own look; what is published
/// looks like what it is beside, since its lines are dashed; others have the next free look.
pub(crate) fn looks(ours: &[String], theirs: &[String]) -> (Vec<Look>, Vec<Look>) {
    let mut taken = Vec::new();
    let of_ours = assign(ours, &mut taken, &[]);
    let beside: Vec<(String, usize)> =
        ours.iter().map(|name| name.to_lowercase()).zip(of_ours.iter().copied()).collect();
    // A method may look alike in both kinds; whatever else is taken stays taken.
    let mut taken = taken.into_iter().filter(|look| *look >= KNOWN.len() || !is_known(*look, ours)).collect();
    let of_theirs = assign(theirs, &mut taken, &beside);
    (of_ours.into_iter().map(Look).collect(), of_theirs.into_iter().map(Look).collect())
}

/// Whether a look is that of a known method among names.
fn is_known(look: usize, names: &[String]) -> bool {
    names.iter().any(|name| method(&name.to_lowercase()) == KNOWN[look])
}

/// The method that a name begins with: `AdAutoMix` of `AdAutoMix, teacher`.
fn method(name: &str) -> &str {
    name.split([',', ' ']).next().unwrap_or_default()
}

fn assign(names: &[String], taken: &mut Vec<usize>, beside: &[(String, usize)]) -> Vec<usize> {
    let mut looks: Vec<Option<usize>> = names
        .iter()
        .map(|name| {
            let name = name.to_lowercase();
            let same = beside.iter().find(|(other, _)| *other == name || *other == method(&name));
            let known = || KNOWN.iter().position(|known| *known == method(&name));
            let look = same.map(|(_, look)| *look).or_else(|| known().filter(|look| !taken.contains(look)));
            taken.extend(look);
            look
        })
        .collect();
    for look in &mut looks {
        let free = look.or_else(|| (0..).find(|number| !taken.contains(number))).unwrap_or(0);
        taken.push(free);
        *look = Some(free);
    }
    looks.into_iter().flatten().collect()
}

impl Look {
    /// The class of the colour in `chart.css`.
    pub(crate) fn class(self) -> String {
        format!("c{}", self.colour())
    }

    /// The number of the colour, from 0. The first is AdAutoMix's alone; the others go round, one further with each round
    /// of the markers.
    pub(crate) fn colour(self) -> usize {
        match self.0 {
            0 => 0,
            number => 1 + (number - 1 + number / KNOWN.len()) % (COLOURS - 1),
        }
    }

    /// The marker's name in pgfplots.
    pub(crate) fn pgf_mark(self) -> &'static str {
        const MARKS: [&str; 12] = [
            "*",
            "square*",
            "triangle*",
            "diamond*",
            "triangle*, mark options={rotate=180}",
            "+",
            "x",
            "pentagon*",
            "triangle*, mark options={rotate=90}",
            "triangle*, mark options={rotate=270}",
            "asterisk",
            "10-pointed star",
        ];
        MARKS[self.0 % MARKS.len()]
    }

    /// The marker around a place, as the data of a path.
    pub(crate) fn marker(self, x: f64, y: f64) -> String {
        let corners = |count: u32, turn: f64, radius: f64| -> Vec<(f64, f64)> {
            (0..count)
                .map(|corner| (turn + f64::from(corner) / f64::from(count)) * TAU)
                .map(|angle| (x + radius * angle.cos(), y + radius * angle.sin()))
                .collect()
        };
        let closed = |corners: Vec<(f64, f64)>| format!("{}Z", super::path(&corners));
        let spokes = |ends: Vec<(f64, f64)>| -> String {
            ends.iter().map(|(end_x, end_y)| format!("M{x:.1},{y:.1}L{end_x:.1},{end_y:.1}")).collect()
        };
        match self.0 % KNOWN.len() {
            0 => format!("M{:.1},{y:.1}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0Z", x - 3.0),
            1 => closed(corners(4, 0.125, 3.8)),
            2 => closed(corners(3, 0.75, 4.0)),
            3 => closed(corners(4, 0.0, 4.2)),
            4 => closed(corners(3, 0.25, 4.0)),
            5 => spokes(corners(4, 0.0, 3.8)),
            6 => spokes(corners(4, 0.125, 3.8)),
            7 => closed(corners(5, 0.75, 3.8)),
            8 => closed(corners(3, 0.5, 4.0)),
            9 => closed(corners(3, 0.0, 4.0)),
            10 => spokes(corners(6, 0.25, 3.8)),
            _ => closed(star(x, y)),
        }
    }
}

/// The corners of a star with five points.
fn star(x: f64, y: f64) -> Vec<(f64, f64)> {
    (0..10_u32)
        .map(|corner| {
            let (angle, radius) = ((0.75 + f64::from(corner) / 10.0) * TAU, [4.6, 1.9][corner as usize % 2]);
            (x + radius * angle.cos(), y + radius * angle.sin())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn of(names: &[&str]) -> Vec<Look> {
        looks(&strings(names), &[]).0
    }

    #[test]
    fn a_method_looks_alike_wherever_it_stands() {
        assert_eq!(of(&["CutMix", "AdAutoMix"])[1], of(&["AdAutoMix, teacher"])[0]);
        let two_of_one = of(&["AdAutoMix, teacher", "AdAutoMix, student"]);
        assert_ne!(two_of_one[0], two_of_one[1]);
    }

    #[test]
    fn what_is_published_looks_like_what_it_is_beside() {
        let ours = strings(&["AdAutoMix", "with", "without"]);
        let theirs =
            strings(&["AdAutoMix with the defaults", "without", "with, a log", "CutMix, a log", "else"]);
        let (ours, theirs) = looks(&ours, &theirs);
        assert_eq!(theirs[..3], [ours[0], ours[2], ours[1]]);
        assert_eq!(theirs[3], of(&["CutMix"])[0]);
        assert!(!ours.contains(&theirs[4]) && theirs[4] != theirs[3]);
    }

    #[test]
    fn twelve_series_have_twelve_markers() {
        let names: Vec<String> = (0..12).map(|number| format!("N = {number}")).collect();
        let mut marks: Vec<_> = looks(&names, &[]).0.iter().map(|look| look.marker(0.0, 0.0)).collect();
        marks.sort();
        marks.dedup();
        assert_eq!(marks.len(), 12);
        let names: Vec<String> = (0..30).map(|number| format!("N = {number}")).collect();
        let mut both: Vec<_> =
            looks(&names, &[]).0.iter().map(|look| (look.colour(), look.marker(0.0, 0.0))).collect();
        both.sort();
        both.dedup();
        assert_eq!(both.len(), 30);
    }
}
