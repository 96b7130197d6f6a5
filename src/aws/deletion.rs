/// What came of a deletion, as a query after it shows: AWS may report success and keep what was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Gone,
    /// AWS is deleting it.
    Begun,
    /// It is still there.
    Kept,
}
