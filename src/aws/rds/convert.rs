pub(super) fn gib(number: Option<i32>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|gib| *gib > 0)
}

pub(super) fn percent(number: Option<i32>) -> Option<u8> {
    number.and_then(|number| u8::try_from(number).ok())
}
