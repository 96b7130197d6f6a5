//! What a blue/green switchover leaves: the database that had the name is called `NAME-old1` from then on (or `-old2`, …
//! where that is taken), and what has the name now is another to RDS, with the same data.

use super::super::AwsFailure;
use super::{Database, Rds};
use crate::policy::RdsDatabase;

/// A database that had the name of another until a blue/green switchover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedOver {
    /// The name that it has now.
    pub identifier: String,
    pub resource_id: String,
}

impl Rds {
    /// Those that a blue/green switchover renamed when it gave their name to the database that has it now, the last
    /// first. Nothing but the names says so once the deployment itself was removed.
    pub async fn predecessors(&self, of: &RdsDatabase) -> Result<Vec<SwitchedOver>, AwsFailure> {
        let all = match of {
            RdsDatabase::Instance(_) => self.instances().await?,
            RdsDatabase::Cluster(_) => self.clusters().await?,
        };
        Ok(among(all, of.identifier()))
    }
}

fn among(all: Vec<Database>, name: &str) -> Vec<SwitchedOver> {
    let mut found: Vec<(u32, SwitchedOver)> = { all.into_iter() }
        .filter_map(|database| {
            let identifier = database.id.identifier().to_owned();
            let number = number(&identifier, name)?;
            Some((number, SwitchedOver { identifier, resource_id: database.resource_id }))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, predecessor)| predecessor).collect()
}

/// `shop-old2` of `shop`: 2.
fn number(identifier: &str, name: &str) -> Option<u32> {
    let digits = identifier.strip_prefix(name)?.strip_prefix("-old")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switchover_is_known_by_the_name_that_it_gives_and_by_no_other() {
        assert_eq!(number("shop-old1", "shop"), Some(1));
        assert_eq!(number("shop-old12", "shop"), Some(12));
        // What a promotion of drctl puts aside, and what happens to be named so.
        for other in ["shop-old", "shop-old-1", "shop-older1", "shopping-old1", "shop", "old1"] {
            assert_eq!(number(other, "shop"), None, "{other}");
        }
    }
}
