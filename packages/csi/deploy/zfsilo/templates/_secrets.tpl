{{/*
What is made at the first install and kept: the token. Templates are rendered one by one, so the first
to ask makes it and leaves it in .Values.made for the others.
*/}}
{{- define "zfsilo.makeSecrets" -}}
{{- if not .Values.made -}}
{{- $made := dict -}}
{{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "zfsilo.tokenSecret" .)).data | default dict -}}
{{- $_ := set $made "token" (ternary (index $kept "token" | default "" | b64dec) (randAlphaNum 43) (hasKey $kept "token")) -}}
{{- $_ := set .Values "made" $made -}}
{{- end -}}
{{- end -}}

{{/* What the control plane of this release knows the driver's token by. */}}
{{- define "zfsilo.tokenSha256" -}}
{{- if .Values.token.existingSecret -}}
{{- required "token.sha256: the control plane of this release has to know the token of token.existingSecret: printf %s TOKEN | sha256sum" .Values.token.sha256 -}}
{{- else -}}
{{- include "zfsilo.makeSecrets" . -}}
{{- .Values.made.token | sha256sum -}}
{{- end -}}
{{- end -}}
