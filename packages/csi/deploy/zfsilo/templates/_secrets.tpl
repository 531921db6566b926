{{/*
What is made at the first install and kept: a token, a CA, a certificate. Templates are rendered one by one, so the first
to ask makes it and leaves it in .Values.made for the others.
*/}}
{{- define "zfsilo.makeSecrets" -}}
{{- if not .Values.made -}}
{{- $made := dict -}}
{{- $kept := (lookup "v1" "Secret" .Release.Namespace (include "zfsilo.tokenSecret" .)).data | default dict -}}
{{- $_ := set $made "token" (ternary (index $kept "token" | default "" | b64dec) (randAlphaNum 43) (hasKey $kept "token")) -}}
{{- $tls := (lookup "v1" "Secret" .Release.Namespace (include "zfsilo.tlsSecret" .)).data | default dict -}}
{{- if hasKey $tls "tls.key" -}}
{{- $_ := set $made "tls" $tls -}}
{{- else if eq .Values.tls.mode "generated" -}}
{{- $name := include "zfsilo.controlPlane.name" . -}}
{{- $names := concat (list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) "localhost") .Values.tls.extraDnsNames -}}
{{- $addresses := concat (list "127.0.0.1") .Values.tls.extraIpAddresses -}}
{{- $ca := genCA (printf "%s CA" (include "zfsilo.fullname" .)) 3650 -}}
{{- $certificate := genSignedCert $name $addresses $names 3650 $ca -}}
{{- $_ := set $made "tls" (dict "tls.crt" ($certificate.Cert | b64enc) "tls.key" ($certificate.Key | b64enc) "ca.crt" ($ca.Cert | b64enc)) -}}
{{- end -}}
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
