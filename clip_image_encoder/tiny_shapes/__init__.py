"""The bundled checkpoint `tiny-shapes`: its files, and the code that draws the images it was trained on."""
