//! Stanford Cars: 196 makes, models and years.
//!
//! Three forms are read, of which people have one or the other since the first home of the data set is gone:
//!
//! - the development kit: `devkit/cars_meta.mat` names the classes, `devkit/cars_train_annos.mat` and
//!   `cars_test_annos_withlabels.mat` (in `devkit` or beside it) have a struct a picture of `cars_train` and `cars_test`;
//! - all in one: `cars_annos.mat` with the pictures of `car_ims`, each marked as training or test;
//! - CSV: `names.csv` with a class a line, `anno_train.csv` and `anno_test.csv` with
//!   `file,left,top,right,bottom,class`, pictures in `car_data/train/<class>/` or `cars_train/`.

use crate::files::{Listed, Listing};
use crate::layout::table::Table;
use crate::mat::{self, Value};
use crate::tree::Tree;
use crate::{Error, Region, Result, Split};

/// Where the annotations of the development kit may lie.
fn kit_list(split: Split) -> [&'static str; 2] {
    match split {
        Split::Train => ["devkit/cars_train_annos.mat", "cars_train_annos.mat"],
        Split::Test => ["devkit/cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat"],
    }
}

fn csv_list(split: Split) -> &'static str {
    match split {
        Split::Train => "anno_train.csv",
        Split::Test => "anno_test.csv",
    }
}

/// Whether the tree has the annotations of a split.
pub(crate) fn has(tree: &Tree, split: Split) -> bool {
    tree.has_file("cars_annos.mat")
        || tree.has_file(csv_list(split))
        || kit_list(split).into_iter().any(|list| tree.has_file(list))
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    if tree.has_file("cars_annos.mat") {
        return all_in_one(tree, split);
    }
    if tree.has_file(csv_list(split)) {
        return csv(tree, split);
    }
    let [kit, beside] = kit_list(split);
    let file = if tree.has_file(kit) { kit } else { beside };
    let meta = if tree.has_file("devkit/cars_meta.mat") { "devkit/cars_meta.mat" } else { "cars_meta.mat" };
    let class_names = class_names(&Matlab::read(tree, meta)?)?;
    let folder = match split {
        Split::Train => "cars_train",
        Split::Test => "cars_test",
    };
    let annotations = Matlab::read(tree, file)?;
    let rows =
        annotations.rows("annotations", ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"])?;
    let pictures = rows.into_iter().enumerate().map(|(row, [left, top, right, bottom, class, file])| {
        let file = file.text().ok_or_else(|| annotations.wrong(&format!("row {row} has no file name")))?;
        annotations.listed(
            row,
            format!("{folder}/{file}"),
            [left, top, right, bottom],
            class,
            class_names.len(),
        )
    });
    Ok(Listing { pictures: pictures.collect::<Result<_>>()?, class_names })
}

fn all_in_one(tree: &Tree, split: Split) -> Result<Listing> {
    let annotations = Matlab::read(tree, "cars_annos.mat")?;
    let class_names = class_names(&annotations)?;
    let columns = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "relative_im_path", "test"];
    let mut pictures = Vec::new();
    for (row, [left, top, right, bottom, class, file, test]) in
        annotations.rows("annotations", columns)?.into_iter().enumerate()
    {
        let (Some(file), Some(test)) = (file.text(), test.number()) else {
            return Err(annotations.wrong(&format!("row {row} has no file name or no split")));
        };
        if (test != 0.) == (split == Split::Test) {
            let region = [left, top, right, bottom];
            pictures.push(annotations.listed(row, file.to_owned(), region, class, class_names.len())?);
        }
    }
    Ok(Listing { class_names, pictures })
}

fn class_names(file: &Matlab) -> Result<Vec<String>> {
    let Some(Value::Cells(cells)) = file.variable("class_names") else {
        return Err(file.wrong("has no cell array `class_names`"));
    };
    let names = cells.iter().map(|cell| cell.text().map(str::to_owned));
    names.collect::<Option<_>>().ok_or_else(|| file.wrong("has a class name that is no text"))
}

/// A MATLAB file of a data set.
struct Matlab {
    path: std::path::PathBuf,
    variables: Vec<(String, Value)>,
}

impl Matlab {
    fn read(tree: &Tree, name: &str) -> Result<Self> {
        let (path, mut bytes) = (tree.path(name), Vec::new());
        tree.read(name, &mut bytes)?;
        match mat::read(&bytes) {
            Ok(variables) => Ok(Self { path, variables }),
            Err(problem) => Err(Error::list(path, &format!("can't be read: {problem}"))),
        }
    }

    fn wrong(&self, problem: &str) -> Error {
        Error::list(&self.path, problem)
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables.iter().find(|variable| variable.0 == name).map(|variable| &variable.1)
    }

    /// The elements of a struct array as rows of some of its fields.
    fn rows<const N: usize>(&self, name: &str, columns: [&str; N]) -> Result<Vec<[&Value; N]>> {
        let Some(Value::Structs { fields, elements }) = self.variable(name) else {
            return Err(self.wrong(&format!("has no struct array `{name}`")));
        };
        let mut places = [0; N];
        for (place, column) in places.iter_mut().zip(columns) {
            *place = fields
                .iter()
                .position(|field| field == column)
                .ok_or_else(|| self.wrong(&format!("`{name}` has no field `{column}`")))?;
        }
        Ok(elements.iter().map(|element| places.map(|place| &element[place])).collect())
    }

    /// A picture of an annotation, whose class counts from 1, as do the pixels of its box.
    fn listed(
        &self,
        row: usize,
        file: String,
        region: [&Value; 4],
        class: &Value,
        classes: usize,
    ) -> Result<Listed> {
        let [left, top, right, bottom] =
            region.map(|value| value.number().map_or(f32::NAN, |number| number as f32));
        let region = Region { left: left - 1., top: top - 1., right, bottom };
        if !region.is_sound() {
            return Err(self.wrong(&format!("row {row} has a box without an inside")));
        }
        let class = class.number().unwrap_or(f64::NAN);
        if !(1. ..=classes as f64).contains(&class) || class.fract() != 0. {
            return Err(self.wrong(&format!("row {row} has the class {class}, expected 1 to {classes}")));
        }
        Ok(Listed { region: Some(region), ..Listed::new(file, class as usize - 1) })
    }
}

fn csv(tree: &Tree, split: Split) -> Result<Listing> {
    let names = Table::read(tree, "names.csv")?;
    let class_names: Vec<String> = names.lines().map(|line| line.text.trim_matches('"').to_owned()).collect();
    let folder = split.name();
    let table = Table::read(tree, csv_list(split))?;
    let mut pictures = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.text.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let [file, left, top, right, bottom, class] = fields[..] else {
            return Err(line.wrong(&format!("has {} fields, expected 6", fields.len())));
        };
        // Some copies have a line of headings.
        if line.number == 1 && class.parse::<usize>().is_err() {
            continue;
        }
        let label = line.label(class, class_names.len())?;
        let region = line.region([left, top, right, bottom])?;
        // A `/` in a class name (`Ram C/V`) can't be in that of a folder.
        let class_folder = class_names[label].replace('/', "-");
        let homes = [
            format!("car_data/car_data/{folder}/{class_folder}/{file}"),
            format!("car_data/{folder}/{class_folder}/{file}"),
            format!("cars_{folder}/{file}"),
        ];
        let Some(path) = homes.iter().find(|path| tree.has_file(path)) else {
            return Err(line.wrong(&format!("`{file}` is in none of {}", homes.join(", "))));
        };
        let region = Region { left: region.left - 1., top: region.top - 1., ..region };
        pictures.push(Listed { region: Some(region), ..Listed::new(path.as_str(), label) });
    }
    Ok(Listing { class_names, pictures })
}
