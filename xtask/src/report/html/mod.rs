//! The report as one HTML page: style, diagrams and pictures are inside, and a policy in it forbids every request.

mod section;

use std::path::Path;

use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::curves::{self, Curves};
use super::gather::{self, Report};
use super::lines::state;
use crate::artefact::{Artefact, Status, Work};
use section::panels;

const STYLE: &str = include_str!("style.css");

/// No script, no font, no picture but those inside.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// States in the order in which runs are listed.
const STATES: [Status; 5] =
    [Status::Failed, Status::Done, Status::SomeTrialsMissing, Status::NotRun, Status::NotThereYet];

/// The page.
///
/// # Errors
/// If a picture can't be read.
pub(super) fn page(report: &Report, results: &Path) -> Result<String> {
    let (tables, others): (Vec<_>, Vec<_>) =
        report.artefacts.iter().partition(|artefact| artefact.id.starts_with("table"));
    let (figures, ablations): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|artefact| artefact.id.starts_with("fig"));
    let group = |id: &str, title: &str, artefacts: &[&Artefact]| -> Result<Markup> {
        let sections: Vec<Markup> =
            artefacts.iter().map(|artefact| section::artefact(artefact, results)).collect::<Result<_>>()?;
        Ok(html! {
            @if !sections.is_empty() {
                section id=(id) aria-labelledby=(format!("{id}-heading")) {
                    h2 id=(format!("{id}-heading")) { (title) }
                    @for section in sections { (section) }
                }
            }
        })
    };
    let body = html! {
        a class="skip" href="#main" { "To the results" }
        (header(report))
        (contents(report, &tables, &figures, &ablations))
        main id="main" {
            (reading(report))
            (group("tables", "Tables", &tables)?)
            (group("figures", "Figures", &figures)?)
            (group("ablations", "Ablations", &ablations)?)
            (curve_sections(&report.curves))
            (environment(report))
            (work(&report.work))
        }
        footer {
            p {
                "Made by " code { "cargo xtask report --profile " (report.profile) }
                @if let Some(commit) = &report.commit { " at commit " code { (commit) } }
                ". The page holds all that it shows and asks no other place for anything."
            }
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "AdAutoMix in Rust: results beside the paper’s (" (report.profile) " profile)" }
                style { (PreEscaped(STYLE)) (PreEscaped(chart::STYLE)) }
            }
            body { (body) }
        }
    };
    Ok(page.into_string())
}

fn header(report: &Report) -> Markup {
    let filled = report.filled();
    html! {
        header {
            p class="kind" { "Supplement" }
            h1 { "Adversarial AutoMixup in Rust: results beside the paper’s" }
            p class="lead" {
                "Every table and figure of Qin et al., " cite { "Adversarial AutoMixup" } " (ICLR 2024, arXiv 2312.11954), "
                "beside what runs of this program give. "
                @if report.reduced {
                    "These are runs of the quick profile: " strong { "reduced" } ", of drawn pictures, a small network and "
                    "few epochs. They show that every part works; their numbers say nothing about the paper’s."
                } @else {
                    "These are runs of the paper profile, as published."
                }
            }
            p class="count" { (filled.done) " of " (filled.all) " places are filled; each that isn’t has its command." }
        }
    }
}

fn contents(report: &Report, tables: &[&Artefact], figures: &[&Artefact], ablations: &[&Artefact]) -> Markup {
    let list = |artefacts: &[&Artefact]| {
        html! {
            ul {
                @for artefact in artefacts {
                    @let filled = gather::filled(artefact);
                    li {
                        a href=(format!("#{}", artefact.id)) { (artefact.name) }
                        " " span class="filled" title=(format!("{} of {} places filled", filled.done, filled.all)) {
                            @if filled.all > 0 { (filled.done) "/" (filled.all) } @else { "–" }
                        }
                    }
                }
            }
        }
    };
    html! {
        nav aria-label="Contents" {
            p { a href="#tables" { "Tables" } }
            (list(tables))
            p { a href="#figures" { "Figures" } }
            (list(figures))
            @if !ablations.is_empty() {
                p { a href="#ablations" { "Ablations" } }
                (list(ablations))
            }
            @if !report.curves.is_empty() { p { a href="#curves" { "Curves" } } }
            p { a href="#environment" { "Environment" } }
            p { a href="#runs" { "Runs" } }
        }
    }
}

fn reading(report: &Report) -> Markup {
    html! {
        section id="reading" aria-labelledby="reading-heading" {
            h2 id="reading-heading" { "How to read it" }
            dl class="terms" {
                dt { "Paper, Ours, Δ" } dd { "The printed value, ours, and ours less the printed one." }
                dt { "s.d., n" } dd { "Standard deviation of ours over n runs with different seeds; none for one run." }
                @if report.reduced {
                    dt { (section::dagger()) } dd { "A value of a reduced run. Its Δ compares different things, and is there for form." }
                }
                dt { "Run" } dd { "A letter that leads to what was run, below the table." }
                dt { "Diagrams" } dd {
                    "A colour and a marker mean a method. Full lines and filled markers are ours, dashed lines and hollow "
                    "markers the paper’s or its authors’ logs."
                }
            }
        }
    }
}

fn curve_sections(all: &[Curves]) -> Markup {
    html! {
        @if !all.is_empty() {
            section id="curves" aria-labelledby="curves-heading" {
                h2 id="curves-heading" { "Curves" }
                ul class="notes" { @for note in curves::notes() { li { (note) } } }
                @for curves in all {
                    section class="artefact" id=(curves.id) aria-labelledby=(format!("{}-heading", curves.id)) {
                        h3 id=(format!("{}-heading", curves.id)) {
                            (curves.title)
                            @if curves.reduced { " " (section::reduced()) }
                        }
                        (panels(&curves.panels, &curves.id, curves.reduced))
                    }
                }
            }
        }
    }
}

fn environment(report: &Report) -> Markup {
    html! {
        section id="environment" aria-labelledby="environment-heading" {
            h2 id="environment-heading" { "Environment" }
            @if report.environments.is_empty() { p { "No run has ended yet." } }
            @else {
                div class="scroll" role="region" aria-labelledby="environment-heading" tabindex="0" {
                    table {
                        caption { "Where the runs were computed" }
                        thead {
                            tr {
                                @for heading in ["Program", "Commit", "Device", "System"] { th scope="col" { (heading) } }
                                @for heading in ["Processors", "Runs", "Hours"] { th scope="col" class="number" { (heading) } }
                            }
                        }
                        tbody {
                            @for (environment, count, hours) in &report.environments {
                                tr {
                                    th scope="row" { (environment.program) }
                                    td { code { (environment.commit.as_deref().unwrap_or("unknown")) } }
                                    td { (environment.device) }
                                    td { (environment.system) }
                                    td class="number" { (environment.processors) }
                                    td class="number" { (count) }
                                    td class="number" { (format!("{hours:.2}")) }
                                }
                            }
                        }
                    }
                }
                p class="notes" { "A “+” behind a commit says that files had changed since." }
            }
        }
    }
}

fn work(all: &[Work]) -> Markup {
    html! {
        section id="runs" aria-labelledby="runs-heading" {
            h2 id="runs-heading" { "Runs and evaluations" }
            @if all.is_empty() { p { "None is planned in this folder." } }
            @for status in STATES {
                @let of_it: Vec<&Work> = all.iter().filter(|one| one.status == status).collect();
                @if !of_it.is_empty() {
                    // What failed is to be seen; what there is yet to do is long.
                    details open[status == Status::Failed] {
                        summary { (of_it.len()) " " (state(status)) }
                        ol class="runs" { @for one in of_it { (work_item(one)) } }
                    }
                }
            }
        }
    }
}

fn work_item(one: &Work) -> Markup {
    html! {
        li {
            p {
                b { (one.title) }
                @if let Some(summary) = &one.summary {
                    " " span class="soft" {
                        (summary.dataset) ", " (summary.network) ", seed " (summary.seed) ", "
                        (summary.epochs) " epochs (" (summary.steps) " steps) in " (format!("{:.0}", summary.seconds))
                        " s; " (summary.device)
                        @if let Some(commit) = &summary.commit { ", commit " (commit) }
                    }
                }
            }
            p { (section::command(&one.command)) }
            @if let Some(failure) = &one.failure { pre { (failure) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn page_of(artefacts: Vec<Artefact>, reduced: bool) -> String {
        let report = Report {
            profile: if reduced { "quick" } else { "paper" }.to_owned(),
            reduced,
            commit: Some("0123456789ab+".to_owned()),
            artefacts,
            curves: curves::curves(&[], reduced),
            environments: Vec::new(),
            work: Vec::new(),
        };
        page(&report, Path::new("nowhere")).unwrap()
    }

    /// The part of a page from an anchor to the end of its section.
    fn part<'a>(page: &'a str, id: &str) -> &'a str {
        let start = page.find(&format!("id=\"{id}\"")).unwrap();
        &page[start..start + page[start..].find("</section>").unwrap()]
    }

    #[test]
    fn every_link_has_its_place_and_no_anchor_is_there_twice() {
        let page = page_of(vec![samples::artefact("table1", true), samples::artefact("fig5", true)], true);
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        for target in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let id = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leaves the page"));
            assert!(ids.contains(&id), "{id}");
        }
        let mut distinct = ids.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_value_stands_beside_the_papers_and_a_missing_one_has_its_command() {
        let page = page_of(vec![samples::artefact("table1", false)], false);
        let table = part(&page, "table1");
        assert!(table.contains("<td class=\"number\">82.32</td><td class=\"number\">82.25</td>"), "{table}");
        assert!(
            table.contains("<span>reproduce</span> <span>table1</span> <span>--methods</span>"),
            "{table}"
        );
        assert!(table.contains("student, last-10") && table.contains("75.00"), "{table}");
    }

    #[test]
    fn a_reduced_value_is_marked_wherever_it_stands() {
        let mark = dagger_text();
        let reduced = page_of(vec![samples::artefact("table1", true)], true);
        let table = part(&reduced, "table1");
        // Value, difference and deviation, and the two values of the second table.
        assert_eq!(table.matches(&mark).count(), 5, "{table}");
        assert!(table.contains("ours (reduced run)") && table.contains("class=\"reduced\""), "{table}");
        let whole = page_of(vec![samples::artefact("table1", false)], false);
        assert!(!whole.contains(&mark));
    }

    fn dagger_text() -> String {
        section::dagger().into_string()
    }

    #[test]
    fn text_is_text_and_nothing_is_asked_for() {
        let page = page_of(vec![samples::artefact("fig5", true)], true);
        assert!(page.contains("Under &lt;occlusion&gt;") && page.contains("accuracy &amp; more"));
        assert!(page.contains(POLICY) || page.contains(&POLICY.replace('\'', "&#39;")));
        let addresses = page.matches("http").count() - page.matches("http-equiv").count();
        assert_eq!(addresses, page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
        assert!(!page.contains("<script") && !page.contains("@import") && !page.contains("url("));
    }
}
