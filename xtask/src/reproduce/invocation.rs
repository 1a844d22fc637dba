//! A call of the program: started here, or written down for a shell.

use std::path::{Path, PathBuf};

/// A call of the program, and the file that it leaves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invocation {
    /// Its arguments, those for the file included.
    pub(crate) arguments: Vec<String>,
    pub(crate) output: Option<Output>,
}

/// A file that a call leaves; it has its name only when it is whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    /// The name that it has until then.
    pub(crate) aside: PathBuf,
    pub(crate) path: PathBuf,
    /// Whether it is what the call prints.
    pub(crate) printed: bool,
}

/// Where and with what calls are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launch {
    /// As `adautomix train --device` has it; the default where it is empty.
    pub(crate) device: String,
    pub(crate) data_dir: Option<PathBuf>,
}

impl Launch {
    /// The arguments that name the device.
    pub(crate) fn device(&self) -> Vec<String> {
        if self.device.is_empty() { Vec::new() } else { vec!["--device".to_owned(), self.device.clone()] }
    }

    /// The arguments that name the folder of data sets.
    pub(crate) fn data_dir(&self) -> Vec<String> {
        let folder = self.data_dir.as_ref();
        folder.map_or_else(Vec::new, |folder| vec!["--data-dir".to_owned(), folder.display().to_string()])
    }
}

impl Invocation {
    /// A call that looks after its files itself.
    pub(crate) fn new(arguments: Vec<String>) -> Self {
        Self { arguments, output: None }
    }

    /// A call whose standard output is the file.
    pub(crate) fn printing(arguments: Vec<String>, path: PathBuf) -> Self {
        Self { arguments, output: Some(Output { aside: aside(&path), path, printed: true }) }
    }

    /// A call that takes the name of the file after an option.
    pub(crate) fn writing(mut arguments: Vec<String>, option: &str, path: PathBuf) -> Self {
        let aside = aside(&path);
        arguments.extend([option.to_owned(), aside.display().to_string()]);
        Self { arguments, output: Some(Output { aside, path, printed: false }) }
    }

    /// The call as a person types it.
    pub(crate) fn typed(&self) -> String {
        let mut words = vec!["adautomix".to_owned()];
        let name = |path: &Path| quote(&path.display().to_string());
        match &self.output {
            Some(output) if output.printed => {
                words.extend(self.arguments.iter().map(|word| quote(word)));
                words.extend([">".to_owned(), name(&output.path)]);
            }
            Some(output) => {
                let aside = output.aside.display().to_string();
                let named = |word: &String| if *word == aside { name(&output.path) } else { quote(word) };
                words.extend(self.arguments.iter().map(named));
            }
            None => words.extend(self.arguments.iter().map(|word| quote(word))),
        }
        words.join(" ")
    }
}

/// Beside the file, and with its ending, since programs go by that.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("part-{name}"))
}

/// A word as a shell reads it as one.
pub(crate) fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=:,+%@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_their_names_when_they_are_whole() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let printed = Invocation::printing(words("evaluate r --json"), "r/e/ece.json".into());
        assert_eq!(printed.output.as_ref().unwrap().aside, Path::new("r/e/part-ece.json"));
        assert_eq!(printed.typed(), "adautomix evaluate r --json > r/e/ece.json");
        let written = Invocation::writing(words("mix --all"), "--out", "r/p/a b.png".into());
        assert_eq!(written.arguments[3], "r/p/part-a b.png");
        assert_eq!(written.typed(), "adautomix mix --all --out 'r/p/a b.png'");
    }

    #[test]
    fn words_stay_words() {
        assert_eq!(quote("--set"), "--set");
        assert_eq!(quote("λ = 1"), "'λ = 1'");
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}
