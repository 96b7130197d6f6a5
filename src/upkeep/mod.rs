//! Keeping what is stored good: reading it again, completing copies.
