use std::collections::BTreeMap;

use chrono::NaiveDate;

use crate::model::RepositoryName;

/// AWS prices, from the policy alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// The day of these prices.
    pub as_of: NaiveDate,
    /// `USD`
    pub currency: String,
    /// Price per hour of an instance in one zone, by its class.
    pub classes: BTreeMap<String, f64>,
    /// Price per month of a GiB of an instance's storage in one zone.
    pub storage: Option<f64>,
    /// Price per month of a GiB that is stored in a repository.
    pub stored: BTreeMap<RepositoryName, f64>,
}

/// The estimated cost of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub hour: f64,
    /// Of its storage, in addition to the hours.
    pub month: Option<f64>,
}

impl Prices {
    /// Estimates what bytes in a repository cost a month; `None` without a price for it.
    pub fn stored(&self, repository: &RepositoryName, bytes: u64) -> Option<f64> {
        Some(self.stored.get(repository)? * (bytes as f64 / f64::from(1 << 30)))
    }

    /// Estimates the cost of an instance; `None` without a price for its class. Two zones double everything.
    pub fn instance(&self, class: &str, gib: Option<u64>, two_zones: bool) -> Option<Estimate> {
        let times = if two_zones { 2.0 } else { 1.0 };
        let hour = self.classes.get(class)? * times;
        let month = self.storage.zip(gib).map(|(price, gib)| price * gib as f64 * times);
        Some(Estimate { hour, month })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_zones_cost_twice_and_what_has_no_price_has_no_estimate() {
        let prices = Prices {
            as_of: "2026-11-01".parse().unwrap(),
            currency: "USD".to_owned(),
            classes: [("db.m7g.large".to_owned(), 0.2)].into(),
            storage: Some(0.1),
            stored: [("west".parse().unwrap(), 0.0125)].into(),
        };
        assert_eq!(prices.stored(&"west".parse().unwrap(), 8 << 30), Some(0.1));
        assert_eq!(prices.stored(&"primary".parse().unwrap(), 8 << 30), None);
        let one = prices.instance("db.m7g.large", Some(100), false).unwrap();
        assert_eq!(one, Estimate { hour: 0.2, month: Some(10.0) });
        let two = prices.instance("db.m7g.large", None, true).unwrap();
        assert_eq!(two, Estimate { hour: 0.4, month: None });
        assert_eq!(prices.instance("db.r7g.large", Some(1), false), None);
    }
}
