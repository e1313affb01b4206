//! `peernet sim` as a user meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output};

use serde_json::Value;

fn sim(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peernet"));
    command.arg("sim").args(arguments.split_whitespace()).output().unwrap()
}

fn json(arguments: &str) -> Value {
    let output = sim(&format!("{arguments} --json"));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn without_loss_everything_arrives_once() {
    let report = json("--nodes 100 --degree 4 --broadcasts 5 --seed 7");
    assert_eq!(report["expected"], 495);
    assert_eq!(report["delivered"], 495);
    assert_eq!((&report["doubled"], &report["missed"]), (&0.into(), &0.into()));
    assert_eq!(report["links"], 200);
    assert_eq!(report["seed"], 7);
    let copies = report["copies_per_delivery"].as_f64().unwrap();
    assert!((2.5..3.1).contains(&copies), "{copies}");
    assert!(report["hops_mean"].as_f64() < report["hops_most"].as_f64());
}

#[test]
fn a_seed_gives_the_same_result_again() {
    let mut once = json("--nodes 60 --degree 3 --loss 0.2");
    let mut again = json(&format!("--nodes 60 --degree 3 --loss 0.2 --seed {}", once["seed"]));
    for report in [&mut once, &mut again] {
        // How long it took is no result.
        report["took_s"].take();
    }
    assert_eq!(once, again);
    assert!(once["missed"].as_u64().unwrap() + once["delivered"].as_u64().unwrap() == 590);
    assert!(once["copies_lost"].as_u64().unwrap() > 0);
}

#[test]
fn hostile_nodes_deceive_nobody() {
    let report = json("--nodes 60 --degree 8 --broadcasts 10 --signed --hostile 0.2 --seed 3");
    assert_eq!((&report["hostile"], &report["expected"]), (&12.into(), &470.into()));
    assert_eq!((&report["delivered"], &report["doubled"]), (&470.into(), &0.into()));
    assert!(report["forged"].as_u64().unwrap() > 0);
    let text = String::from_utf8(sim("--nodes 20 --degree 6 --signed --hostile 0.2").stdout).unwrap();
    assert!(text.contains("of them hostile"), "{text}");
    assert_eq!(sim("--nodes 5 --degree 2 --hostile 0.2").status.code(), Some(2), "nothing is proven");
}

#[test]
fn the_table_names_what_it_counts_and_bad_options_are_refused() {
    let output = sim("--nodes 10 --degree 2 --broadcasts 1 --latency 20 --seed 5");
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["deliveries expected", "deliveries made", "copies per delivery", "hops", "last node", "seed"]
    {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    for wrong in
        ["--nodes 0 --degree 2", "--nodes 5 --degree 2 --loss 1.5", "--nodes 5 --degree 2 --latency -1"]
    {
        assert_eq!(sim(wrong).status.code(), Some(2), "{wrong}");
    }
}
