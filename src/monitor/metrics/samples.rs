use std::collections::BTreeMap;

/// The samples of each metric, by its name and its labels.
#[derive(Debug, Default)]
pub(super) struct Samples(pub(super) BTreeMap<&'static str, BTreeMap<Labels, f64>>);

pub(super) type Labels = Vec<(&'static str, String)>;

impl Samples {
    /// Sets a sample; one that has no number is left out.
    pub(super) fn set(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: Option<f64>) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.0.entry(name).or_default().insert(labels, value);
    }

    /// Returns the names that have samples.
    #[cfg(test)]
    pub(super) fn names(&self) -> std::collections::BTreeSet<&'static str> {
        self.0.keys().copied().collect()
    }
}
