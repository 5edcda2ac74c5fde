"""The files of volumes, as steps reach them: never through a link, never outside of the volume."""
