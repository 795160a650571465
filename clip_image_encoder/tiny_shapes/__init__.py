"""The bundled checkpoint `tiny-shapes`: its files beside the code that draws its pictures."""
