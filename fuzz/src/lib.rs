//! Fuzz targets over one action type.
