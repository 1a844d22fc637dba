//! `evaluate` measures what it is asked, on as many pictures as it is told.

mod common;

use common::{fail, program, succeed, train};

#[test]
fn all_metrics_come_out_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeed(train("adautomix", &out));
    let run = out.to_str().unwrap();
    let arguments =
        ["evaluate", run, "--json", "--pictures", "4", "--metrics", "top1,ece,fgsm,pgd,occlusion"];
    let output = succeed(program(&arguments));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["pictures"], 4);
    for (network, head) in [("student", "one"), ("student", "mix"), ("teacher", "one"), ("teacher", "mix")] {
        let report = &report[network][head];
        assert_eq!(report["ece"]["reliability"].as_array().map(Vec::len), Some(10), "{report:#}");
        assert_eq!(report["occlusion"]["per_picture"][0], report["top1"]);
        assert_eq!(report["occlusion"]["published"].as_array().map(Vec::len), Some(11));
        for attack in [&report["fgsm"]["pixel"], &report["fgsm"]["published"], &report["pgd"]] {
            let [top1, error] = ["top1", "error"].map(|key| attack[key].as_f64().unwrap());
            assert_eq!(top1 + error, 100.0);
        }
    }
    let output = succeed(program(&["evaluate", run, "--pictures", "1", "--metrics", "corruption", "--json"]));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds = &report["teacher"]["one"]["corruption"]["kinds"];
    assert_eq!(kinds.as_object().map(serde_json::Map::len), Some(19), "{kinds:#}");
    let line = fail(program(&["evaluate", run, "--metrics", "occlusion", "--patch", "5"]));
    assert_eq!(line, "error: the side of a cell is 5, expected a divisor of [32, 32]");
    let line = fail(program(&["evaluate", run, "--pictures", "0"]));
    assert_eq!(line, "error: the number of pictures is 0, expected at least 1");
}
