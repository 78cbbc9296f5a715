//! What tests of several layers share.

pub mod corpus;
