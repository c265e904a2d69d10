//! The dialect as a client sees it.
