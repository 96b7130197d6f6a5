use std::fmt::Write as _;
use std::time::Duration;

use super::family::FAMILIES;
use super::values;
use crate::monitor::Watched;

/// Returns the metrics of the systems as text. `fresh_for`: how long after a collection the next one is expected at the
/// latest.
pub fn metrics_text(watched: &[Watched], fresh_for: Duration) -> String {
    let mut samples = values::samples(watched, fresh_for);
    let mut text = String::new();
    for family in FAMILIES {
        let Some(own) = samples.0.remove(family.name) else { continue };
        // Writing to a `String` does not fail.
        let _infallible = writeln!(text, "# HELP {} {}", family.name, escaped(family.help, false));
        let _infallible = writeln!(text, "# TYPE {} gauge", family.name);
        for (labels, value) in own {
            let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)));
            let labels = labels.collect::<Vec<_>>().join(",");
            let _infallible = writeln!(text, "{}{{{labels}}} {value}", family.name);
        }
    }
    text
}

fn escaped(text: &str, is_label: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_label { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::monitor::FailedCollection;
    use crate::monitor::snapshot::tests::{at, healthy, watched};

    fn text(watched: &[Watched]) -> String {
        metrics_text(watched, Duration::from_secs(300))
    }

    #[test]
    fn the_text_is_as_reviewed() {
        insta::assert_snapshot!(text(&[watched(healthy())]).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn every_metric_of_the_list_has_a_value_and_no_other_and_its_labels_are_those_of_the_list() {
        let samples = values::samples(&[watched(healthy())], Duration::from_secs(300));
        let listed: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(samples.names(), listed);
        for family in FAMILIES {
            for labels in samples.0[family.name].keys() {
                let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
                assert_eq!(names, family.labels, "{}", family.name);
            }
        }
    }

    #[test]
    fn what_is_not_known_has_no_number_and_what_failed_keeps_its_old_ones() {
        let mut failed = watched(healthy());
        failed.failed = Some(FailedCollection { at: at("2026-11-20T13:00:00Z"), reason: "x".into() });
        let never = Watched { name: "a\"b\\c\n".into(), snapshot: None, failed: failed.failed.clone() };
        let text = text(&[failed, never]);
        assert!(text.contains("drctl_collection_success{system=\"a\\\"b\\\\c\\n\"} 0\n"), "{text}");
        assert!(text.contains("drctl_collection_success{system=\"shop\"} 0\n"), "{text}");
        let collected = at("2026-11-20T12:00:00Z").timestamp();
        assert!(
            text.contains(&format!("drctl_collected_timestamp_seconds{{system=\"shop\"}} {collected}\n"))
        );
        assert!(!text.contains("drctl_rpo_target_seconds{system=\"a"), "{text}");
    }

    #[test]
    fn an_empty_copy_is_infinitely_old_and_one_that_was_not_reached_is_not_known() {
        let mut snapshot = healthy();
        let places = &mut snapshot.sources[0].status.places;
        places[0].restorable_until = None;
        places[0].verdict = crate::status::ObjectiveVerdict::Nothing;
        places[1].restorable_until = None;
        places[1].verdict = crate::status::ObjectiveVerdict::NotReached;
        let text = text(&[watched(snapshot)]);
        let sample = |repository: &str| {
            let begin = format!(
                "drctl_recovery_point_timestamp_seconds{{system=\"shop\",source=\"database\",repository=\"{repository}\"}} "
            );
            text.lines().find_map(|line| line.strip_prefix(&begin).map(str::to_owned))
        };
        assert_eq!((sample("primary"), sample("west")), (Some("0".into()), None));
    }
}
